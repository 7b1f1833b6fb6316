# %% [markdown]
# # C8: The backward formulas are right
#
# Every derivative in this library is written by hand. Two independent witnesses say whether they
# are right:
#
# - **Finite differences.** `(L(w + h) - L(w - h)) / 2h` differs from the derivative by an error of
#   the order of `h^2`. It needs nothing but the forward pass. `nn.testing.check_gradients` computes
#   it for each weight and each input, at random points, away from kinks.
# - **Automatic differentiation.** PyTorch and JAX record the operations of a forward pass, and
#   derive them by rules of their own. The forward pass of this library is array API code: it runs
#   on their arrays as it is, so they can derive it.
#
# We compare with both, in double precision, for networks with each of the activations.

# %%
import matplotlib.pyplot as plt
import numpy as np
from claim import BLUE, GREEN, ORANGE, Claim, Finding, spread

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.random import Random, generator
from anyback_nn.tree import tree_map, tree_named_leaves

claim = Claim(
    "c8_backward_formulas_are_right",
    "The backward formulas are right: they agree with finite differences, and with another "
    "library's automatic differentiation.",
)
backend = claim.backend
dtype = "float64" if backend.supports("float64") else "float32"
ACTIVATIONS = {
    name: activation()
    for name, activation in nn.ACTIVATIONS.items()
    if activation not in (nn.Identity, nn.Softmax)
}
SEEDS = range(3)


def build(activation):
    """Return a network with two hidden layers, so that gradients pass through one."""
    return nn.Network(nn.Dense(6), activation, nn.Dense(5), activation, nn.Dense(3))


# %% [markdown]
# ## Against finite differences
# An error is relative to the largest derivative of the same array. `check_gradients` raises if one
# is too large; then we show what it says.

# %%
differences = {}
for name, activation in ACTIVATIONS.items():
    differences[name] = []
    for seed in SEEDS:
        try:
            report = nn.testing.check_gradients(
                build(activation), (7, 4), backend=backend, dtype=dtype, seed=seed
            )
            differences[name].append(report.error)
        except nn.testing.GradientError as error:
            print(error)
            differences[name].append(float("inf"))

# %% [markdown]
# ## Against automatic differentiation
# The same network, loss and numbers: by hand on the backend of this run, and by PyTorch and JAX,
# whichever is installed.


# %%
def draw(network, seed):
    """Return parameters (NumPy arrays, in a tree), inputs and targets."""
    rng = np.random.default_rng(seed)
    params = network.init(4, Random(generator(seed, "weights"), nn.select("numpy"), "float64"))
    # Biases, too, are not zero.
    params = tree_map(lambda array: array + 0.3 * rng.standard_normal(array.shape), params)
    return params, rng.standard_normal((7, 4)), rng.integers(3, size=7).astype("int32")


LOSS = nn.SoftmaxCrossEntropy()


def by_hand(network, params, x, y):
    """Return the gradients of the mean loss by the library's formulas, by the parameters' names."""
    with backend.scope(dtype):
        params = tree_map(lambda array: backend.asarray(array, dtype), params)
        outputs, caches = network.forward(params, backend.asarray(x, dtype))
        _, d_outputs = nn.mean_loss(LOSS, outputs, backend.asarray(y))
        return tree_named_leaves(network.gradients(params, caches, d_outputs))


def by_torch(torch, network, params, x, y):
    """Return the gradients that PyTorch derives from the forward pass."""
    import torch as library

    params = tree_map(lambda array: torch.asarray(array).requires_grad_(), params)
    outputs, _ = network.forward(params, torch.asarray(x))
    values, _ = LOSS.forward(outputs, torch.asarray(y))
    named = tree_named_leaves(params)
    return dict(zip(named, library.autograd.grad(values.mean(), named.values())))


def by_jax(jax, network, params, x, y):
    """Return the gradients that JAX derives from the forward pass."""
    import jax as library

    def loss(params):
        outputs, _ = network.forward(params, jax.asarray(x))
        values, _ = LOSS.forward(outputs, jax.asarray(y))
        return values.mean()

    return tree_named_leaves(library.grad(loss)(tree_map(jax.asarray, params)))


def relative_error(ours, theirs):
    """Return the largest error, relative to the largest derivative of the same array."""
    errors = []
    for name, gradient in theirs.items():
        expected = to_numpy(gradient)
        errors.append(np.abs(to_numpy(ours[name]) - expected).max() / np.abs(expected).max())
    return float(max(errors))


automatic = {}
for library, derive in (("torch", by_torch), ("jax", by_jax)):
    try:
        other = nn.select(library)
    except nn.BackendUnavailableError as error:
        print(f"Without {library}: {error}")
        continue
    automatic[f"{library} {other.version}"] = errors = {}
    with other.scope("float64"):
        for name, activation in ACTIVATIONS.items():
            network = build(activation)
            errors[name] = []
            for seed in SEEDS:
                arguments = draw(network, seed)
                theirs = derive(other, network, *arguments)
                errors[name].append(relative_error(by_hand(network, *arguments), theirs))
print(f"Automatic differentiation: {', '.join(automatic) or 'neither PyTorch nor JAX is there'}.")

claim.show(
    f"Largest relative error in {dtype}, mean (lowest to highest) of {len(SEEDS)} seeds",
    ["activation", "finite differences", *automatic],
    [
        [
            name,
            spread(differences[name], ".0e"),
            *(spread(errors[name], ".0e") for errors in automatic.values()),
        ]
        for name in ACTIVATIONS
    ],
)

# %% [markdown]
# ## The picture
# One dot for each seed. Finite differences themselves have an error; automatic differentiation has
# none but rounding.

# %%
figure, axis = plt.subplots(figsize=(6.4, 5.6))
witnesses = {"finite differences": differences, **automatic}
for shift, (label, errors), color in zip((-0.2, 0, 0.2), witnesses.items(), (ORANGE, BLUE, GREEN)):
    values = np.asarray(list(errors.values()))
    places = np.broadcast_to(np.arange(len(errors))[:, None] + shift, values.shape)
    # A logarithmic axis has no place for zero.
    axis.scatter(np.maximum(values, 1e-18), places, s=20, color=color, alpha=0.7, label=label)
axis.set(xscale="log", xlabel=f"largest relative error ({dtype})", xlim=(1e-18, 1e-5))
axis.set(yticks=range(len(ACTIVATIONS)), yticklabels=ACTIVATIONS)
axis.invert_yaxis()
axis.grid(alpha=0.3)
figure.legend(loc="outside upper center", ncols=2)

# %% [markdown]
# ## The verdict
# A mistake in a formula, such as a missing factor, is an error of the size of 1. Finite differences
# allow for a millionth in double precision.


# %%
def judge(differences, automatic, rounding):
    """Decide from errors by activation and seed, and the rounding error of the dtype."""
    findings = [
        Finding(
            "The formulas agree with finite differences",
            f"largest relative error {max(map(max, differences.values())):.0e} for "
            f"{len(differences)} activations",
            max(map(max, differences.values())) < (1e-6 if rounding < 1e-10 else 1e-4),
        )
    ]
    if not automatic:
        findings.append(
            Finding("They agree with automatic differentiation", "no library is there", False)
        )
    for library, errors in automatic.items():
        largest = max(map(max, errors.values()))
        findings.append(
            Finding(
                f"They agree with automatic differentiation of {library}, to rounding",
                f"largest relative error {largest:.0e}",
                largest < 1000 * rounding,
            )
        )
    return findings


claim.conclude(
    judge(differences, automatic, np.finfo(dtype).eps),
    figure,
    "Relative errors of the gradients by activation: about 1e-10 against finite differences, and "
    "1e-16 against automatic differentiation.",
)
