# %% [markdown]
# # C1: A hidden layer separates what a single neuron cannot
#
# A **logistic neuron** computes `a = sigmoid(w.x + b)`. It says "class 1" where `w.x + b > 0`, and
# the border of that is a straight line. So it can only separate classes that a straight line
# separates.
#
# A **2-layer network** has a hidden layer before that neuron: `a1 = relu(x W1 + b1)`, then
# `a2 = sigmoid(a1 W2 + b2)`. Each hidden unit has a line of its own, and the output neuron combines
# them: its border can be bent and closed.
#
# We train both on three pairs of classes that no straight line separates, and measure the accuracy
# on points that were not trained on. 0.5 is guessing.

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from claim import BLUE, ORANGE, Claim, Finding, spread

import anyback_nn as nn
from anyback_nn.array_api import to_numpy

claim = Claim(
    "c1_hidden_layer_separates",
    "A 2-layer network separates what a single logistic neuron cannot.",
)

# %% [markdown]
# The data. Each seed draws other points; the test points are drawn with yet another seed.

# %%
SHAPES = {
    "XOR": partial(nn.datasets.make_xor, noise=0.02),
    "circles": partial(nn.datasets.make_circles, noise=0.08),
    "spirals": partial(nn.datasets.make_spirals, n_classes=2, noise=0.03),
}
LAYERS = {
    "one neuron": [nn.Dense(1)],
    "2-layer network": [nn.Dense(16), nn.ReLU(), nn.Dense(1)],
}
SEEDS = range(5)

# %% [markdown]
# The loss is the cross-entropy of a sigmoid output; `BinaryCrossEntropy` contains the sigmoid.


# %%
def train(layers, draw, seed):
    """Return the trained model, and its accuracy on a thousand new points."""
    model = nn.Model(*layers, loss=nn.BinaryCrossEntropy(), backend=claim.backend, seed=seed)
    x, y = draw(400, seed=seed)
    model.fit(x, y, optimizer=nn.Adam(0.1), epochs=60, batch_size=100, progress=False)
    return model, model.evaluate(*draw(1000, seed=100 + seed))["accuracy"]


runs = {
    label: {shape: [train(layers, draw, seed) for seed in SEEDS] for shape, draw in SHAPES.items()}
    for label, layers in LAYERS.items()
}
accuracy = {
    label: {shape: [score for _, score in scores] for shape, scores in shapes.items()}
    for label, shapes in runs.items()
}
claim.show(
    f"Test accuracy, mean (lowest to highest) of {len(SEEDS)} seeds",
    ["data", *LAYERS],
    [[shape, *(spread(accuracy[label][shape]) for label in LAYERS)] for shape in SHAPES],
)

# %% [markdown]
# ## The picture
# The colour is the probability of class 1; the border is where it is 1/2.

# %%
figure, axes = plt.subplots(2, 3, figsize=(7.2, 5.2))
ticks = np.linspace(-1.35, 1.35, 121)
grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
for row, (label, shapes) in zip(axes, runs.items()):
    for axis, (shape, draw) in zip(row, SHAPES.items()):
        model, score = shapes[shape][0]
        x, y = draw(400, seed=SEEDS[0])
        probability = to_numpy(model.predict(grid)).reshape(121, 121)
        axis.contourf(ticks, ticks, probability, np.linspace(0, 1, 11), cmap="PuOr_r", alpha=0.6)
        axis.contour(ticks, ticks, probability, [0.5], colors="black", linewidths=1)
        axis.scatter(*x.T, c=np.where(y == 1, ORANGE, BLUE), s=5)
        axis.set(title=f"{shape}: {score:.2f}", xticks=[], yticks=[], aspect="equal")
    row[0].set_ylabel(label)

# %% [markdown]
# ## The verdict


# %%
def judge(neuron, network):
    """Decide from the accuracies by data set and seed."""
    best = {shape: max(scores) for shape, scores in neuron.items()}
    worst = {shape: min(scores) for shape, scores in network.items()}
    return [
        Finding(
            f"On {shape}, the neuron stays below 0.75 and the network reaches 0.95, in every seed",
            f"at most {best[shape]:.3f} and at least {worst[shape]:.3f}",
            best[shape] < 0.75 and worst[shape] >= 0.95,
        )
        for shape in neuron
    ]


claim.conclude(
    judge(accuracy["one neuron"], accuracy["2-layer network"]),
    figure,
    "Regions of one neuron and of a 2-layer network on XOR, circles and spirals: straight borders "
    "in the upper row, bent and closed ones in the lower.",
)
