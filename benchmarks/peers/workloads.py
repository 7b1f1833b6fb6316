"""The rows of the tables: data, networks and first weights, the same for all systems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""The folder of Debian's package dataset-fashion-mnist."""


@dataclass(frozen=True)
class Workload:
    """One row of the table: ReLU networks with a softmax, in float32, in a new order each epoch.

    Attributes
    ----------
    data : str
        ``"digits"``, ``"fashion"`` or ``"tabular"``.
    sizes : tuple of int
        Inputs, hidden units, classes.
    batch : int
    optimizer : str
        ``"adam"`` (rate 0.001) or ``"momentum"`` (rate 0.01, momentum 0.9).
    dropout : float
        The rate of dropout after each hidden layer.
    batch_norm : bool
        Whether there is batch normalisation before each ReLU.
    """

    data: str
    sizes: tuple[int, ...]
    batch: int
    optimizer: str = "adam"
    dropout: float = 0.0
    batch_norm: bool = False

    @property
    def operations(self) -> int:
        """Floating-point operations of the matrix products of a step, per sample."""
        products = [2 * n_in * n_out for n_in, n_out in zip(self.sizes, self.sizes[1:])]
        # Forward, and the gradients of weights and of inputs, but those of the network.
        return 3 * sum(products) - products[0]

    @property
    def name(self) -> str:
        """The name of the row."""
        network = "-".join(map(str, self.sizes))
        extras = [
            f"batch {self.batch}",
            *([self.optimizer] if self.optimizer != "adam" else []),
            *([f"dropout {self.dropout}"] if self.dropout else []),
            *(["batch norm"] if self.batch_norm else []),
        ]
        return f"{self.data} {network}, {', '.join(extras)}"


WORKLOADS = (
    Workload("digits", (64, 64, 10), 32),
    Workload("fashion", (784, 32, 10), 128),
    Workload("fashion", (784, 256, 128, 10), 128),
    Workload("fashion", (784, 256, 128, 10), 128, optimizer="momentum"),
    Workload("fashion", (784, 1024, 1024, 10), 128),
    Workload("fashion", (784, 1024, 1024, 10), 1024),
    Workload("tabular", (54, 256, 256, 256, 7), 512, dropout=0.1, batch_norm=True),
)

RATES = {"adam": 1e-3, "momentum": 1e-2}
MOMENTUM = 0.9


@cache
def load(name: str) -> tuple[Any, Any]:
    """Load inputs in float32 of about the size 1, and classes.

    Where Fashion-MNIST is not installed, noise of its shape replaces it.
    """
    import anyback_nn as nn

    if name == "digits":
        digits = nn.datasets.load_digits()
        return digits.x_train, digits.y_train
    if name == "fashion" and FASHION.is_dir():
        data = nn.datasets.load(FASHION)
        return data.x_train.reshape(len(data.x_train), -1), data.y_train
    rng = np.random.default_rng(0)
    shape, n_classes = {"fashion": ((60_000, 784), 10), "tabular": ((60_000, 54), 7)}[name]
    x = rng.standard_normal(shape, dtype=np.float32)
    y = np.argmax(np.tanh(x @ rng.standard_normal((shape[1], n_classes))), axis=1)
    return x, y.astype(np.int32)


def write(workload: Workload, samples: int, folder: Path) -> None:
    """Write the first samples of a row to files that all systems read."""
    for path, array in zip(_files(workload, samples, folder), load(workload.data)):
        if not path.exists():
            np.save(path, array[:samples])


def read(workload: Workload, samples: int, folder: Path) -> tuple[Any, Any]:
    """Read the samples of a row."""
    x, y = (np.load(path) for path in _files(workload, samples, folder))
    return x, y


def _files(workload: Workload, samples: int, folder: Path) -> list[Path]:
    return [folder / f"{workload.data}-{samples}-{name}.npy" for name in "xy"]


def draw_weights(workload: Workload) -> list[tuple[Any, Any]]:
    """Draw a weight (n_in, n_out) and a bias for each layer (K. He et al., ICCV 2015)."""
    rng = np.random.default_rng(1)
    return [
        (
            rng.standard_normal((n_in, n_out), dtype=np.float32) * np.float32((2 / n_in) ** 0.5),
            np.zeros(n_out, np.float32),
        )
        for n_in, n_out in zip(workload.sizes, workload.sizes[1:])
    ]


def draw_batches(n_samples: int, batch: int, epoch: int) -> list[Any]:
    """Draw the order of an epoch: the indices of the rows of each batch."""
    order = np.random.default_rng(epoch).permutation(n_samples)
    return [order[start : start + batch] for start in range(0, n_samples, batch)]
