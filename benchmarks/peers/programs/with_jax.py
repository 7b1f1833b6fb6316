"""A classifier of digits, as a user of JAX and Optax writes it: one jitted step."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

data = np.load(sys.argv[1])
inputs, targets = jnp.asarray(data["x"]), jnp.asarray(data["y"])
rng = np.random.default_rng(0)
params = [
    {
        "w": jnp.asarray(rng.standard_normal((n_in, n_out), np.float32) * (2 / n_in) ** 0.5),
        "b": jnp.zeros(n_out),
    }
    for n_in, n_out in ((64, 64), (64, 10))
]
optimizer = optax.adam(1e-3)


def outputs_of(params, x):
    """Compute the logits."""
    first, second = params
    return jax.nn.relu(x @ first["w"] + first["b"]) @ second["w"] + second["b"]


def loss_of(params, x, y):
    """Compute the mean loss of a batch."""
    logits = outputs_of(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def step(params, state, x, y, rows):
    """Take a step on these rows."""
    grads = jax.grad(loss_of)(params, x[rows], y[rows])
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), state


step = jax.jit(step, donate_argnums=(0, 1))
state = optimizer.init(params)
for _ in range(30):
    order = rng.permutation(len(inputs))
    for start in range(0, len(order), 32):
        params, state = step(params, state, inputs, targets, order[start : start + 32])
print(np.mean(np.asarray(outputs_of(params, data["x_test"])).argmax(1) == data["y_test"]))
