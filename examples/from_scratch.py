"""The textbook's 2-layer network, step by step, with plain functions: no layer and no model.

One hidden layer of four tanh units and one sigmoid output unit learn which of two circles a point
is on. Examples are rows, so every formula is the transpose of the textbook's, which stacks them as
columns. With the name of another backend, the same lines compute there.
"""

import sys

from anyback_nn import datasets
from anyback_nn.backends import select
from anyback_nn.network.activations import (
    sigmoid,
    sigmoid_derivative,
    tanh,
    tanh_derivative,
)
from anyback_nn.random import Random, generator

backend = select(sys.argv[1] if len(sys.argv) > 1 else "numpy")
xp = backend.xp

x_host, y_host = datasets.make_circles(400, noise=0.08, seed=0)
X = backend.asarray(x_host, "float32")
Y = backend.asarray(y_host[:, None], "float32")
m, n_x, n_h = X.shape[0], X.shape[1], 4
print(f"computing on {backend.spec}: {m} examples, {n_x} inputs, {n_h} hidden units, 1 output")

# Weights start small and random: equal weights would never become different. Biases start at zero.
draws = Random(generator(0, "weights"), backend, "float32")
W1, b1 = draws.normal((n_x, n_h), std=0.5), draws.full((1, n_h), 0.0)
W2, b2 = draws.normal((n_h, 1), std=0.5), draws.full((1, 1), 0.0)

# What one unit does, for one example: z = w . x + b, then a = g(z).
z = xp.sum(W1[:, 0] * X[0, :]) + b1[0, 0]
print(f"one unit, one example: z = {float(z):.4f}, a = tanh(z) = {float(xp.tanh(z)):.4f}")

alpha = 1.0
for iteration in range(2001):
    # Forward: all examples at once.
    Z1 = X @ W1 + b1
    A1 = tanh(Z1)
    Z2 = A1 @ W2 + b2
    A2 = sigmoid(Z2)
    cost = -xp.mean(Y * xp.log(A2) + (1.0 - Y) * xp.log(1.0 - A2))

    # Backward: the cost's derivative dA2 times the sigmoid's gives the famous A2 - Y.
    dA2 = (A2 - Y) / (A2 * (1.0 - A2))
    dZ2 = dA2 * sigmoid_derivative(A2)
    dW2 = xp.matrix_transpose(A1) @ dZ2 / m
    db2 = xp.mean(dZ2, axis=0, keepdims=True)
    dZ1 = dZ2 @ xp.matrix_transpose(W2) * tanh_derivative(A1)
    dW1 = xp.matrix_transpose(X) @ dZ1 / m
    db1 = xp.mean(dZ1, axis=0, keepdims=True)

    if iteration == 0:
        arrays = {"X": X, "W1": W1, "Z1": Z1, "A1": A1, "W2": W2, "Z2": Z2, "A2": A2}
        arrays |= {"dZ2": dZ2, "dW2": dW2, "db2": db2, "dZ1": dZ1, "dW1": dW1, "db1": db1}
        shapes = [f"{name} {tuple(array.shape)}" for name, array in arrays.items()]
        print("shapes:", ", ".join(shapes))
        print(f"largest |dZ2 - (A2 - Y)|: {float(xp.max(xp.abs(dZ2 - (A2 - Y)))):.1e}")
    if iteration % 500 == 0:
        accuracy = xp.mean(xp.astype((A2 > 0.5) == (Y > 0.5), xp.float32))
        print(f"iteration {iteration:4}: cost {float(cost):.4f}, accuracy {float(accuracy):.3f}")

    # The step.
    W1, b1 = W1 - alpha * dW1, b1 - alpha * db1
    W2, b2 = W2 - alpha * dW2, b2 - alpha * db2
