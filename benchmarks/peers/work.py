"""What is trained in the comparison: data, networks and first weights, the same for all systems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""


@dataclass(frozen=True)
class Work:
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
        Behind each hidden layer.
    batch_norm : bool
        In front of each ReLU.
    """

    data: str
    sizes: tuple[int, ...]
    batch: int
    optimizer: str = "adam"
    dropout: float = 0.0
    batch_norm: bool = False

    @property
    def operations(self) -> int:
        """Of the matrix products of a step, for each sample, in floating point."""
        each = [2 * n_in * n_out for n_in, n_out in zip(self.sizes, self.sizes[1:])]
        # Forward, and with respect to weights and inputs, but those of the network.
        return 3 * sum(each) - each[0]

    @property
    def name(self) -> str:
        """How the table calls it."""
        network = "-".join(map(str, self.sizes))
        extras = [
            f"batch {self.batch}",
            *([self.optimizer] if self.optimizer != "adam" else []),
            *([f"dropout {self.dropout}"] if self.dropout else []),
            *(["batch norm"] if self.batch_norm else []),
        ]
        return f"{self.data} {network}, {', '.join(extras)}"


WORKS = (
    Work("digits", (64, 64, 10), 32),
    Work("fashion", (784, 32, 10), 128),
    Work("fashion", (784, 256, 128, 10), 128),
    Work("fashion", (784, 256, 128, 10), 128, optimizer="momentum"),
    Work("fashion", (784, 1024, 1024, 10), 128),
    Work("fashion", (784, 1024, 1024, 10), 1024),
    Work("tabular", (54, 256, 256, 256, 7), 512, dropout=0.1, batch_norm=True),
)

RATES = {"adam": 1e-3, "momentum": 1e-2}
MOMENTUM = 0.9


@cache
def load(name: str) -> tuple[Any, Any]:
    """Load data: inputs in float32 of about the size 1, and classes.

    Where Fashion-MNIST is not installed, noise of its shape takes its place.
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


def write(work: Work, samples: int, folder: Path) -> None:
    """Write the first samples of a row where all systems read them."""
    for path, array in zip(_files(work, samples, folder), load(work.data)):
        if not path.exists():
            np.save(path, array[:samples])


def read(work: Work, samples: int, folder: Path) -> tuple[Any, Any]:
    """Read them."""
    x, y = (np.load(path) for path in _files(work, samples, folder))
    return x, y


def _files(work: Work, samples: int, folder: Path) -> list[Path]:
    return [folder / f"{work.data}-{samples}-{one}.npy" for one in "xy"]


def first_weights(work: Work) -> list[tuple[Any, Any]]:
    """Draw a weight (n_in, n_out) and a bias for each layer (K. He et al., ICCV 2015)."""
    rng = np.random.default_rng(1)
    return [
        (
            rng.standard_normal((n_in, n_out), dtype=np.float32) * np.float32((2 / n_in) ** 0.5),
            np.zeros(n_out, np.float32),
        )
        for n_in, n_out in zip(work.sizes, work.sizes[1:])
    ]


def order(n_samples: int, batch: int, epoch: int) -> list[Any]:
    """Draw the order of an epoch: the numbers of the rows of each batch."""
    chosen = np.random.default_rng(epoch).permutation(n_samples)
    return [chosen[start : start + batch] for start in range(0, n_samples, batch)]
