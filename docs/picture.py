"""Draw the picture in the README: ``pip install '.[plot,torch,jax]' && python docs/picture.py``."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.tree import tree_leaves


class Parameters(nn.Callback):
    """Keeps the parameters after each epoch, as one vector."""

    def __init__(self):
        self.path = []

    def on_epoch_end(self, fit):
        arrays = tree_leaves(fit.model.params)
        self.path.append(np.concatenate([to_numpy(a).ravel() for a in arrays]))


def spirals(axis):
    """Three spirals and what a small network makes of them."""
    x, y = nn.datasets.make_spirals(600, n_classes=3, noise=0.02, seed=0)
    layers = (nn.Dense(64), nn.Tanh(), nn.Dense(64), nn.Tanh(), nn.Dense(3))
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy())
    model.fit(x, y, optimizer=nn.Adam(0.01), epochs=150)
    limit = 1.1 * np.abs(x).max()
    ticks = np.linspace(-limit, limit, 300)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    colors = np.asarray([[0.30, 0.45, 0.69], [0.87, 0.52, 0.32], [0.33, 0.66, 0.41]])
    shades = model.predict(grid) @ colors
    picture = (0.35 + 0.65 * shades).reshape(300, 300, 3).clip(0, 1)
    axis.imshow(picture, extent=(-limit, limit) * 2, origin="lower")
    axis.scatter(*x.T, c=colors[y], s=9, edgecolors="white", linewidths=0.4)
    axis.set_title(f"Three spirals, accuracy {model.evaluate(x, y)['accuracy']:.3f}")
    axis.set_xticks([])
    axis.set_yticks([])


def drift(axis):
    """How far the same run on other libraries is from NumPy's in double precision."""
    digits = nn.datasets.load_digits()

    def run(backend, dtype):
        layers = (nn.Dense(64), nn.ReLU(), nn.Dropout(0.1), nn.Dense(10))
        model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend, dtype=dtype)
        seen = Parameters()
        model.fit(digits.x_train, digits.y_train, epochs=20, callbacks=[seen], progress=False)
        return np.asarray(seen.path)

    exact = run("numpy", "float64")
    for backend in ("numpy", "torch", "jax"):
        for dtype, style in (("float32", "-"), ("float64", "--")):
            if (backend, dtype) == ("numpy", "float64"):
                continue
            worst = np.abs(run(backend, dtype) - exact).max(axis=1)
            axis.semilogy(np.arange(1, 21), worst, style, label=f"{backend}, {dtype}")
    axis.set_title("Digits: the same run on three libraries")
    axis.set_xlabel("epoch")
    axis.set_xticks(range(0, 21, 5))
    axis.set_ylabel("largest difference of any parameter\nfrom NumPy in float64")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
spirals(left)
drift(right)
figure.savefig(Path(__file__).with_name("picture.png"), dpi=110)
