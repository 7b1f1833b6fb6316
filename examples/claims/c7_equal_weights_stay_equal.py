# %% [markdown]
# # C7: Equal initial weights stay equal
#
# Take a hidden layer whose units all start with the same weights. For every example they compute
# the same `a`, and because their weights in the next layer are equal too, the same `dz` comes back
# to each. So `dW1 = X.T dZ1` has equal columns: all units take the same step, and are equal again.
# However many units there are, they do the work of one. Random weights break the symmetry; biases
# may start at zero.
#
# We train the same network three times: from equal weights, from zeros, and from random weights,
# and look at how far the columns of `W1` are apart.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from claim import BLUE, ORANGE, Claim, Finding, spread

import anyback_nn as nn
from anyback_nn.array_api import to_numpy

claim = Claim(
    "c7_equal_weights_stay_equal",
    "Equal initial weights stay equal: symmetry must be broken.",
)

# %%
N_UNITS = 8
STARTS = {
    "equal": nn.Constant(0.5),
    "zeros": nn.Zeros(),
    "random": nn.GlorotUniform(),
}
SEEDS = range(5)


def train(initializer, seed):
    """Return the trained model, and its accuracy on new points."""
    model = nn.Model(
        nn.Dense(N_UNITS, initializer=initializer),
        nn.Tanh(),
        nn.Dense(1, initializer=initializer),
        loss=nn.BinaryCrossEntropy(),
        backend=claim.backend,
        seed=seed,
    )
    x, y = nn.datasets.make_moons(400, noise=0.1, seed=seed)
    with warnings.catch_warnings():
        # The library warns of layers that do not change: the result that we look for.
        warnings.simplefilter("ignore", UserWarning)
        model.fit(x, y, optimizer=nn.Adam(0.03), epochs=80, batch_size=50, progress=False)
    return model, model.evaluate(*nn.datasets.make_moons(1000, noise=0.1, seed=100 + seed))


runs = {
    start: [train(initializer, seed) for seed in SEEDS] for start, initializer in STARTS.items()
}
weights = {
    start: [to_numpy(model.params[0]["weight"]) for model, _ in own] for start, own in runs.items()
}
accuracy = {start: [scores["accuracy"] for _, scores in own] for start, own in runs.items()}

# %% [markdown]
# ## How far the units are apart
# The largest difference between a weight of a unit and that of the first unit, after training.

# %%
distances = {
    start: [float(np.abs(weight - weight[:, :1]).max()) for weight in own]
    for start, own in weights.items()
}
claim.show(
    f"After training, mean (lowest to highest) of {len(SEEDS)} seeds",
    ["start", "largest difference between units", "test accuracy"],
    [[start, spread(distances[start], ".2g"), spread(accuracy[start])] for start in STARTS],
)
claim.show(
    "W1 after training from equal weights, with the first seed: a column is a unit",
    ["input", *(f"unit {i + 1}" for i in range(N_UNITS))],
    [
        [f"x{i + 1}", *(f"{value:.4f}" for value in row)]
        for i, row in enumerate(weights["equal"][0])
    ],
)

# %% [markdown]
# ## The picture

# %%
figure, axes = plt.subplots(2, len(STARTS), figsize=(7.2, 4.8), height_ratios=[1.6, 1])
ticks = np.linspace(-1.4, 2.4, 121), np.linspace(-1, 1.5, 121)
grid = np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 2)
x, y = nn.datasets.make_moons(400, noise=0.1, seed=SEEDS[0])
limit = max(float(np.abs(own[0]).max()) for own in weights.values())
for start, region, bars in zip(STARTS, *axes):
    model, scores = runs[start][0]
    probability = to_numpy(model.predict(grid)).reshape(121, 121)
    region.contourf(*ticks, probability, np.linspace(0, 1, 11), cmap="PuOr_r", alpha=0.6)
    region.scatter(*x.T, c=np.where(y == 1, ORANGE, BLUE), s=4)
    region.set(title=f"{start}: {scores['accuracy']:.2f}", xticks=[], yticks=[])
    bars.imshow(weights[start][0], cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
    bars.set(xlabel="hidden unit", xticks=[0, N_UNITS - 1], xticklabels=[1, N_UNITS])
    bars.set(yticks=[0, 1], yticklabels=["x1", "x2"])
axes[0, 0].set_ylabel("regions")
axes[1, 0].set_ylabel("W1")

# %% [markdown]
# ## The verdict
# Whether two units are equal is a matter of rounding: a library may sum up in another order for
# another column. So equal means within a millionth.


# %%
def judge(distances, accuracy):
    """Decide from the distances between units, and from accuracies, by start."""
    lowest = min(accuracy["random"])
    return [
        Finding(
            "From equal weights, all units are equal after training, in every seed",
            f"largest difference {max(distances['equal']):.1e}",
            max(distances["equal"]) < 1e-6,
        ),
        Finding(
            "From zeros, too",
            f"largest difference {max(distances['zeros']):.1e}",
            max(distances["zeros"]) < 1e-6,
        ),
        Finding(
            "From random weights, they are not",
            f"differences up to {spread(distances['random'], '.2g')}",
            min(distances["random"]) > 0.01,
        ),
        Finding(
            "Only random weights separate the moons: the others stay below their lowest accuracy",
            ", ".join(f"{start} {spread(scores)}" for start, scores in accuracy.items()),
            max(accuracy["equal"] + accuracy["zeros"]) < lowest,
        ),
    ]


claim.conclude(
    judge(distances, accuracy),
    figure,
    "Regions and hidden weights after training from equal weights, zeros and random weights: only "
    "the random start has different columns, and a bent border.",
)
