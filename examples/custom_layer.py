"""A custom layer and a custom loss: each a class with `forward` and `backward`, not registered.

The layer is a SiLU whose steepness is learned, one per feature (P. Ramachandran et al., 2017). The
loss is log-cosh, smooth like the square near zero and linear like the absolute value far away. They
run on every backend, because they use only the array API standard.
"""

import math
from dataclasses import dataclass

import anyback_nn as nn
from anyback_nn.network.activations import sigmoid, softplus
from anyback_nn.testing import check_gradients


@dataclass(frozen=True)
class Swish(nn.Layer):
    """``y = x s`` with ``s = sigmoid(steepness x)``."""

    def init(self, n_in, draws):
        return {"steepness": draws.full((n_in,), 1.0)}

    def forward(self, params, x, context=nn.PREDICTION):
        s = sigmoid(params["steepness"][..., None, :] * x)
        return x * s, (x, s)

    def backward(self, params, cache, dy):
        """Derive with ``ds/du = s (1 - s)`` for ``u = steepness x``."""
        x, s = cache
        du = dy * x * s * (1.0 - s)
        dx = dy * s + du * params["steepness"][..., None, :]
        return dx, {"steepness": nn.array_namespace(x).sum(du * x, axis=-2)}


@dataclass(frozen=True)
class LogCosh(nn.Loss):
    """``mean_j log(cosh(e_j))`` with ``e = outputs - targets``."""

    def forward(self, outputs, targets):
        xp = nn.array_namespace(outputs)
        error = outputs - targets
        # log(cosh(e)) = e + log(1 + exp(-2e)) - log(2), which does not overflow.
        return xp.mean(error + softplus(-2.0 * error) - math.log(2.0), axis=-1), error

    def backward(self, cache, dvalues):
        """Derive: ``tanh(e_j) / n_out``."""
        return nn.array_namespace(cache).tanh(cache) * (dvalues[..., None] / cache.shape[-1])


# Check the derivatives, for one network and for two in parallel.
for part in (Swish(), LogCosh()):
    for shape in ((5, 3), (2, 5, 3)):
        report = check_gradients(part, shape)
        print(f"{part!r} on {shape}: largest relative error {report.error:.1e}")

x, y = nn.datasets.make_spirals(600, n_classes=2, noise=0.02, seed=0)
model = nn.Model(nn.Dense(32), Swish(), nn.Dense(32), Swish(), nn.Dense(1), loss=LogCosh())
model.fit(x, 2.0 * y - 1.0, optimizer=nn.Adam(0.01), epochs=120)
accuracy = ((model.predict(x)[:, 0] > 0) == (y == 1)).mean()
steepness = model.params[1]["steepness"]
print(f"two spirals: accuracy {accuracy:.3f}")
print(f"learned steepness: from {float(steepness.min()):.2f} to {float(steepness.max()):.2f}")
