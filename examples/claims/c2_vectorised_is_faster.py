# %% [markdown]
# # C2: The vectorised step equals the loop over examples, and is faster
#
# One example at a time, the backward formulas of a 2-layer network are about vectors. With the `m`
# examples stacked as the rows of a matrix `X`, the same formulas are about matrices, and the loop
# is gone: it has moved into the matrix product, where compiled code runs it.
#
# | | one example | all examples |
# |---|---|---|
# | forward | `a1 = tanh(x W1 + b1)` | `A1 = tanh(X W1 + b1)` |
# | | `a2 = sigmoid(a1 W2 + b2)` | `A2 = sigmoid(A1 W2 + b2)` |
# | backward | `dz2 = a2 - y` | `dZ2 = A2 - Y` |
# | | `dW2 += outer(a1, dz2) / m` | `dW2 = A1.T dZ2 / m` |
# | | `dz1 = dz2 W2.T * (1 - a1^2)` | `dZ1 = dZ2 W2.T * (1 - A1^2)` |
# | | `dW1 += outer(x, dz1) / m` | `dW1 = X.T dZ1 / m` |
#
# We take the gradient of one step both ways, compare the two, and time them. The library's own
# layers compute it a third time.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
from claim import BLUE, ORANGE, Claim, Finding, spread

import anyback_nn as nn
from anyback_nn.array_api import to_numpy

claim = Claim(
    "c2_vectorised_is_faster",
    "The vectorised step equals the loop over examples, and is faster.",
)
backend, xp = claim.backend, claim.backend.xp
dtype = "float64" if backend.supports("float64") else "float32"

# %% [markdown]
# The step as a loop: it sees one example at a time.


# %%
def loop_step(params, X, Y):
    """Return the gradients of the mean loss, example by example."""
    W1, b1, W2, b2 = params
    m = X.shape[0]
    dW1, db1, dW2, db2 = (xp.zeros_like(param) for param in params)
    for i in range(m):
        x, y = X[i, :], Y[i, :]
        a1 = xp.tanh(x @ W1 + b1)
        a2 = 1.0 / (1.0 + xp.exp(-(a1 @ W2 + b2)))
        dz2 = a2 - y
        dz1 = (W2 @ dz2) * (1.0 - a1 * a1)
        dW2 = dW2 + a1[:, None] * dz2[None, :] / m
        db2 = db2 + dz2 / m
        dW1 = dW1 + x[:, None] * dz1[None, :] / m
        db1 = db1 + dz1 / m
    return dW1, db1, dW2, db2


# %% [markdown]
# The same step for all examples at once. Each line is a line of the loop, with capital letters.


# %%
def vectorised_step(params, X, Y):
    """Return the gradients of the mean loss, from whole matrices."""
    W1, b1, W2, b2 = params
    m = X.shape[0]
    A1 = xp.tanh(X @ W1 + b1)
    A2 = 1.0 / (1.0 + xp.exp(-(A1 @ W2 + b2)))
    dZ2 = A2 - Y
    dZ1 = dZ2 @ xp.matrix_transpose(W2) * (1.0 - A1 * A1)
    dW2 = xp.matrix_transpose(A1) @ dZ2 / m
    db2 = xp.sum(dZ2, axis=0) / m
    dW1 = xp.matrix_transpose(X) @ dZ1 / m
    db1 = xp.sum(dZ1, axis=0) / m
    return dW1, db1, dW2, db2


# %% [markdown]
# And the library's: layers that know their own derivative, and a loss that has the factor `1/m`.

# %%
network = nn.Network(nn.Dense(16), nn.Tanh(), nn.Dense(1))


def library_step(params, X, Y):
    """Return the gradients that `Model.fit` uses."""
    W1, b1, W2, b2 = params
    tree = ({"weight": W1, "bias": b1}, {}, {"weight": W2, "bias": b2})
    outputs, caches = network.forward(tree, X)
    _, d_outputs = nn.mean_loss(nn.BinaryCrossEntropy(), outputs, Y)
    first, _, last = network.gradients(tree, caches, d_outputs)
    return first["weight"], first["bias"], last["weight"], last["bias"]


# %% [markdown]
# ## The measurement
# A network with 16 inputs, 16 hidden units and one output. Each seed draws other examples and
# weights. A time is the shortest of several (the longest loop is timed once): what else the
# computer does only makes it longer.

# %%
SIZES = (10, 100, 1000)
SEEDS = range(5)


def draw(m, seed):
    """Return parameters, inputs and targets on the backend."""
    rng = np.random.default_rng(seed)
    shapes = [(16, 16), (16,), (16, 1), (1,)]
    arrays = [0.3 * rng.standard_normal(shape) for shape in shapes]
    arrays += [rng.standard_normal((m, 16)), rng.integers(2, size=(m, 1)).astype(float)]
    *params, X, Y = (backend.asarray(array, dtype) for array in arrays)
    return params, X, Y


def measure(step, arguments, repeats):
    """Return the gradients as NumPy arrays, and the seconds that a step takes."""
    backend.synchronize(*step(*arguments))  # what a library prepares once is not timed
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        gradients = step(*arguments)
        backend.synchronize(*gradients)
        seconds.append(time.perf_counter() - start)
    return [to_numpy(gradient) for gradient in gradients], min(seconds)


def difference(ours, theirs):
    """Return the largest difference, relative to the largest element of each array."""
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs))


loop_times, times, errors, library_errors = {}, {}, [], []
with backend.scope(dtype):
    for m in SIZES:
        loop_times[m], times[m] = [], []
        for seed in SEEDS:
            arguments = draw(m, seed)
            slow, slow_seconds = measure(loop_step, arguments, repeats=1 if m > 100 else 5)
            fast, fast_seconds = measure(vectorised_step, arguments, repeats=20)
            loop_times[m].append(slow_seconds)
            times[m].append(fast_seconds)
            errors.append(difference(slow, fast))
            library_errors.append(difference(measure(library_step, arguments, repeats=1)[0], fast))

factors = {m: [a / b for a, b in zip(loop_times[m], times[m])] for m in SIZES}
claim.show(
    f"Milliseconds of a step and the factor, mean (lowest to highest) of {len(SEEDS)} seeds",
    ["examples", "loop", "vectorised", "factor"],
    [
        [
            m,
            spread([1000 * t for t in loop_times[m]], ".2f"),
            spread([1000 * t for t in times[m]], ".3f"),
            spread(factors[m], ".0f"),
        ]
        for m in SIZES
    ],
)

# %%
figure, axis = plt.subplots(figsize=(6.4, 4.6))
for label, seconds, color in (
    ("loop over examples", loop_times, ORANGE),
    ("vectorised", times, BLUE),
):
    axis.loglog(SIZES, [np.mean(seconds[m]) for m in SIZES], "o-", color=color, label=label)
for m in SIZES:
    low, high = np.mean(times[m]), np.mean(loop_times[m])
    arrow = {"arrowstyle": "<->", "color": "gray"}
    axis.annotate("", (m, low * 1.2), (m, high / 1.2), arrowprops=arrow)
    axis.text(1.12 * m, (low * high) ** 0.5, f"{np.mean(factors[m]):.0f} times", va="center")
axis.set(xlabel="examples", ylabel="seconds for one step", xticks=SIZES, xlim=(7, 5000))
axis.set_xticklabels([f"{m:,}" for m in SIZES])
axis.minorticks_off()
axis.legend(loc="upper left")
axis.set_title(f"The same gradients, on {backend.spec}")

# %% [markdown]
# ## The verdict


# %%
def judge(errors, library_errors, factors, rounding):
    """Decide from differences of the gradients and from the factors by number of examples."""
    most = max(factors)
    return [
        Finding(
            "Loop and vectorised step give the same gradients, to rounding",
            f"largest relative difference {max(errors):.0e}",
            max(errors) < 1000 * rounding,
        ),
        Finding(
            "So do the library's layers",
            f"largest relative difference {max(library_errors):.0e}",
            max(library_errors) < 1000 * rounding,
        ),
        Finding(
            f"With {most:,} examples the vectorised step is faster, in every seed",
            f"by a factor of {spread(factors[most], '.0f')}",
            min(factors[most]) > 1,
        ),
    ]


claim.conclude(
    judge(errors, library_errors, factors, np.finfo(dtype).eps),
    figure,
    "Seconds of a step against the number of examples: the time of the loop grows with their "
    "number, that of the vectorised step hardly does.",
)
