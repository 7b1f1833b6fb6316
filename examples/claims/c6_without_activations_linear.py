# %% [markdown]
# # C6: Without a non-linear activation, any number of layers is one linear map
#
# A layer without activation computes `x W + b`. Two of them:
#
# `(x W1 + b1) W2 + b2 = x (W1 W2) + (b1 W2 + b2)`
#
# which is one layer with the weight `W1 W2`. The same goes for any number. So a deep network
# without activations can represent nothing that a single layer cannot.
#
# We train a network of four layers without activations, multiply its weight matrices, and compare
# the product with the network itself. Then we compare its loss and accuracy with those of a single
# layer, and with the same network with ReLU.

# %%
import matplotlib.pyplot as plt
import numpy as np
from claim import BLUE, ORANGE, Claim, Finding, spread

import anyback_nn as nn
from anyback_nn.array_api import to_numpy

claim = Claim(
    "c6_without_activations_linear",
    "Without a non-linear activation any number of layers is one linear map.",
)
dtype = "float64" if claim.backend.supports("float64") else "float32"

# %%
LAYERS = {
    "one layer": [nn.Dense(1)],
    "four layers, no activation": [nn.Dense(16), nn.Dense(16), nn.Dense(16), nn.Dense(1)],
    "four layers, ReLU": [
        *(nn.Dense(16), nn.ReLU(), nn.Dense(16), nn.ReLU(), nn.Dense(16), nn.ReLU()),
        nn.Dense(1),
    ],
}
DATA = {
    "moons": nn.datasets.make_moons,
    "circles": nn.datasets.make_circles,
    "XOR": nn.datasets.make_xor,
}
SEEDS = range(5)


def train(layers, draw, seed):
    """Return the trained model, its loss on the training data, and its accuracy on new data."""
    model = nn.Model(
        *layers, loss=nn.BinaryCrossEntropy(), backend=claim.backend, seed=seed, dtype=dtype
    )
    x, y = draw(400, seed=seed)
    # A single layer needs larger steps to reach its minimum.
    rule = nn.Adam(0.3 if len(layers) == 1 else 0.03)
    model.fit(x, y, optimizer=rule, schedule="cosine", epochs=60, batch_size=100, progress=False)
    return model, model.evaluate(x, y)["loss"], model.evaluate(*draw(1000, seed=seed + 100))


runs = {
    (label, name): [train(layers, draw, seed) for seed in SEEDS]
    for label, layers in LAYERS.items()
    for name, draw in DATA.items()
}
losses = {key: [loss for _, loss, _ in own] for key, own in runs.items()}
accuracy = {key: [scores["accuracy"] for *_, scores in own] for key, own in runs.items()}
for title, values in (("Training loss", losses), ("Test accuracy", accuracy)):
    claim.show(
        f"{title}, mean (lowest to highest) of {len(SEEDS)} seeds",
        ["data", *LAYERS],
        [[name, *(spread(values[label, name]) for label in LAYERS)] for name in DATA],
    )

# %% [markdown]
# ## The product of the matrices
# `W = W1 W2 W3 W4`, and the bias is carried along: `b = ((b1 W2 + b2) W3 + b3) W4 + b4`.


# %%
def multiply(model):
    """Return the weight and the bias of the one layer that the network is."""
    layers = [{name: to_numpy(array) for name, array in own.items()} for own in model.params]
    weight, bias = layers[0]["weight"], layers[0]["bias"]
    for own in layers[1:]:
        weight, bias = weight @ own["weight"], bias @ own["weight"] + own["bias"]
    return weight, bias


errors = {name: [] for name in DATA}
for name, draw in DATA.items():
    for seed, (model, *_) in zip(SEEDS, runs["four layers, no activation", name]):
        x = draw(1000, seed=seed + 100)[0].astype(dtype)
        weight, bias = multiply(model)
        z = x @ weight + bias
        # The network's probabilities, and those of the product.
        error = np.abs(to_numpy(model.predict(x)) - 1 / (1 + np.exp(-z)))
        errors[name].append(float(error.max()))
claim.show(
    "Largest difference between the network's probabilities and those of the product",
    ["data", f"highest of {len(SEEDS)} seeds, {dtype}"],
    [[name, f"{max(values):.0e}"] for name, values in errors.items()],
)

# %% [markdown]
# ## The picture

# %%
figure, axes = plt.subplots(3, 3, figsize=(7.2, 7.6))
for row, label in zip(axes, LAYERS):
    for axis, (name, draw) in zip(row, DATA.items()):
        model, _, scores = runs[label, name][0]
        x, y = draw(400, seed=SEEDS[0])
        low, high = x.min(axis=0) - 0.2, x.max(axis=0) + 0.2
        ticks = [np.linspace(a, b, 101) for a, b in zip(low, high)]
        grid = np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 2)
        probability = to_numpy(model.predict(grid)).reshape(101, 101)
        axis.contourf(*ticks, probability, np.linspace(0, 1, 11), cmap="PuOr_r", alpha=0.6)
        axis.contour(*ticks, probability, [0.5], colors="black", linewidths=1)
        axis.scatter(*x.T, c=np.where(y == 1, ORANGE, BLUE), s=4)
        axis.set(title=f"{name}: {scores['accuracy']:.2f}", xticks=[], yticks=[])
    row[0].set_ylabel(label.replace(", ", "\n"))

# %% [markdown]
# ## The verdict
# The loss of a single layer has one minimum, which is the best that any linear map can do. If four
# layers are one linear map, their training loss cannot be below it.


# %%
def judge(errors, losses, accuracy, rounding):
    """Decide from differences by data set, and from losses and accuracies by network and data."""
    one, deep, relu = "one layer", "four layers, no activation", "four layers, ReLU"
    names = list(errors)
    largest = max(max(values) for values in errors.values())
    gain = max(a - b for name in names for a, b in zip(losses[one, name], losses[deep, name]))
    means = {key: float(np.mean(values)) for key, values in accuracy.items()}
    better = max(means[deep, name] - means[one, name] for name in names)
    return [
        Finding(
            "The product of the weight matrices is the network, to rounding",
            f"largest difference of a probability {largest:.0e}",
            largest < 1000 * rounding,
        ),
        Finding(
            "Four layers without activation have no lower training loss than one",
            f"lower by at most {max(gain, 0):.0e}",
            gain < 1e-3,
        ),
        Finding(
            "Nor are they more accurate on new data",
            f"on average by at most {better:.3f}",
            better < 0.01,
        ),
        Finding(
            "The same network with ReLU is more accurate on all data sets",
            ", ".join(
                f"{name} {means[relu, name]:.3f} instead of {means[deep, name]:.3f}"
                for name in names
            ),
            all(means[relu, name] > means[deep, name] for name in names),
        ),
    ]


claim.conclude(
    judge(errors, losses, accuracy, np.finfo(dtype).eps),
    figure,
    "Regions of one layer, of four layers without activation and of four layers with ReLU on "
    "moons, circles and XOR: straight borders in the first two rows, bent ones in the third.",
)
