# %% [markdown]
# # C4: Sigmoid and tanh saturate, and then training slows
#
# The slope of the sigmoid is `a (1 - a)`, that of tanh is `1 - a^2`. Far from `z = 0`, `a` is near
# its limit, and the slope near zero. The backward formula multiplies by that slope in each layer:
# `dZ1 = dZ2 W2.T * g'(Z1)`. So a layer whose `z` is large in size passes nearly nothing back, and
# the weights in it and before it hardly change. ReLU has the slope 1 for every `z` above zero.
#
# We measure three things: the slopes; the norm of the gradient `dW` in each layer of a network with
# three hidden layers; and the loss while it is trained. All of it twice: from the usual start,
# where biases are zero, and from a start where the hidden biases are 4, so that `z` is large.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from claim import BLUE, GREEN, ORANGE, Claim, Finding, spread

import anyback_nn as nn
from anyback_nn.array_api import to_numpy

claim = Claim(
    "c4_saturation_slows_training",
    "Sigmoid and tanh saturate: for large |z| the slope is near zero and training slows; the "
    "gradient norm per layer shows it.",
)
backend, xp = claim.backend, claim.backend.xp
ACTIVATIONS = {"sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "ReLU": nn.ReLU()}
COLORS = {"sigmoid": BLUE, "tanh": ORANGE, "ReLU": GREEN}
STARTS = {"usual start": 0.0, "large z": 4.0}
N_HIDDEN = 3
SEEDS = range(5)

# %% [markdown]
# ## The slopes
# `backward` of a layer multiplies what comes from above, here ones, by the slope.

# %%
z = np.linspace(-10, 10, 201)
slopes = {}
dtype = "float64" if backend.supports("float64") else "float32"
with backend.scope(dtype):
    for label, activation in ACTIVATIONS.items():
        a, cache = activation.forward({}, backend.asarray(z, dtype))
        dz, _ = activation.backward({}, cache, xp.ones_like(a))
        slopes[label] = to_numpy(dz)
claim.show(
    "The slope at some z",
    ["activation", "0", "2", "5", "10"],
    [
        [label, *(f"{values[100 + 10 * i]:.3g}" for i in (0, 2, 5, 10))]
        for label, values in slopes.items()
    ],
)

# %% [markdown]
# ## The gradient in each layer


# %%
def build(activation, offset, seed):
    """Return a network at its start, with the hidden biases moved by ``offset``."""
    hidden = [layer for _ in range(N_HIDDEN) for layer in (nn.Dense(16), activation)]
    model = nn.Model(
        *hidden, nn.Dense(1), loss=nn.BinaryCrossEntropy(), backend=backend, seed=seed
    ).build(2)
    *rest, last = model.params
    with backend.scope("float32"):
        model.params = (
            *(
                {name: array + offset if name == "bias" else array for name, array in layer.items()}
                for layer in rest
            ),
            last,
        )
    return model


def measure_gradients(model, x, y):
    """Return the norm of the gradient of each layer's weights, the first layer's first."""
    with backend.scope("float32"):
        outputs, caches = model.network.forward(model.params, backend.asarray(x, "float32"))
        targets = backend.asarray(y[:, None], "float32")
        _, d_outputs = nn.mean_loss(model.loss, outputs, targets)
        grads = model.network.gradients(model.params, caches, d_outputs)
        return [float(xp.sqrt(xp.sum(own["weight"] ** 2))) for own in grads if own]


norms, curves = {}, {}
for label, activation in ACTIVATIONS.items():
    for start, offset in STARTS.items():
        norms[label, start], curves[label, start] = [], []
        for seed in SEEDS:
            x, y = nn.datasets.make_moons(300, noise=0.2, seed=seed)
            model = build(activation, offset, seed)
            norms[label, start].append(measure_gradients(model, x, y))
            rule = nn.GradientDescent(0.3)
            with warnings.catch_warnings():
                # The library warns of layers that do not change: the result that we look for.
                warnings.simplefilter("ignore", UserWarning)
                history = model.fit(
                    x, y[:, None], optimizer=rule, epochs=40, batch_size=30, progress=False
                )
            curves[label, start].append([float(loss) for loss in history["train_loss"]])

claim.show(
    f"Norm of the gradient before training, mean of {len(SEEDS)} seeds",
    ["activation, start", *(f"layer {i + 1}" for i in range(N_HIDDEN + 1))],
    [
        [f"{label}, {start}", *(f"{value:.1e}" for value in np.mean(values, axis=0))]
        for (label, start), values in norms.items()
    ],
)
final = {key: [curve[-1] for curve in values] for key, values in curves.items()}
claim.show(
    f"Training loss after 40 epochs, mean (lowest to highest) of {len(SEEDS)} seeds; ln 2 = 0.693 "
    "is guessing",
    ["activation", *STARTS],
    [[label, *(spread(final[label, start]) for start in STARTS)] for label in ACTIVATIONS],
)

# %% [markdown]
# ## The picture

# %%
figure, (top, middle, bottom) = plt.subplots(3, 1, figsize=(6.4, 9.6))
for label, color in COLORS.items():
    top.plot(z, slopes[label], color=color, label=label)
    for start, style in zip(STARTS, ("-", "--")):
        name = f"{label}, {start}"
        layers = range(1, N_HIDDEN + 2)
        middle.semilogy(layers, np.mean(norms[label, start], axis=0), f"o{style}", color=color)
        bottom.plot(np.mean(curves[label, start], axis=0), style, color=color, label=name)
top.set(xlabel="z", ylabel="slope", title="For large |z| the slope is near zero")
top.set_xticks([-10, -5, 0, 5, 10])
middle.set(xlabel="layer", ylabel="norm of the gradient", xticks=list(layers))
middle.set_title("Less gradient on the way back at large z (dashed)")
bottom.set(xlabel="epoch", ylabel="training loss", ylim=(0, 1))
bottom.set_title("Training is slower from large z (dashed)")
top.legend()

# %% [markdown]
# ## The verdict


# %%
def judge(slopes, norms, final):
    """Decide from slopes at |z| = 10, from gradient norms, and from losses after training."""
    findings = []
    for label in ("sigmoid", "tanh"):
        usual, large = (
            float(np.mean([first for first, *_ in norms[label, start]]))
            for start in ("usual start", "large z")
        )
        losses = {start: final[label, start] for start in ("usual start", "large z")}
        findings += [
            Finding(
                f"The slope of {label} at |z| = 10 is below a thousandth",
                f"{slopes[label]:.0e}",
                slopes[label] < 1e-3,
            ),
            Finding(
                f"The gradient of the first layer with {label} is at least ten times smaller at "
                "large z",
                f"{usual:.0e} becomes {large:.0e}",
                large < usual / 10,
            ),
            Finding(
                f"Training with {label} is slower from large z, in every seed",
                f"loss {spread(losses['large z'])} instead of {spread(losses['usual start'])}",
                all(b > a for a, b in zip(*losses.values())),
            ),
        ]
    return findings


edges = {label: float(max(abs(values[0]), abs(values[-1]))) for label, values in slopes.items()}
claim.conclude(
    judge(edges, norms, final),
    figure,
    "Slopes of sigmoid, tanh and ReLU; the norm of the gradient in each layer; and the "
    "training loss, from the usual start and from large z.",
)
