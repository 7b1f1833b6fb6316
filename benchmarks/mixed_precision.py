"""What steps in 16 bits cost in accuracy: the same training in float32, float16 and bfloat16.

    python benchmarks/mixed_precision.py --quick

Adam at its defaults; a seed fixes the initial weights, the order and the dropout masks for all
dtypes, so that the difference to float32 is taken seed by seed. Two seeds of float32 differ too:
that is the spread of its row, and what a difference is to be compared with. The accuracy is that of
the model that was trained, whose parameters are in float32 in all rows, on the test part.

The times are those of a CPU. They only say that this is no place for 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

import numpy as np
from ours import layers
from peers.work import FASHION
from report import parser, preamble, publish, table, versions

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS
from anyback_nn.errors import BackendUnavailableError

DTYPES = (None, "float16", "bfloat16")
HEAD = ["data", "backend", "steps in", "test accuracy", "to float32", "loss scale", "s an epoch"]
TEXTS = 3


@dataclass(frozen=True)
class Case:
    """A network and its training.

    Parameters
    ----------
    data : str
        ``"digits"`` or ``"fashion"``, of which ``samples`` are trained on.
    sizes : tuple of int
    batch, epochs, seeds : int
    batch_norm : bool
    dropout : float
    samples : int, optional
    """

    data: str
    sizes: tuple[int, ...]
    batch: int
    epochs: int
    seeds: int
    batch_norm: bool = False
    dropout: float = 0.0
    samples: int | None = None

    @property
    def name(self) -> str:
        """What it is called in the report."""
        name = f"{self.data}, {'-'.join(map(str, self.sizes))}"
        name += ", batch norm" if self.batch_norm else ""
        return name + (f", dropout {self.dropout}" if self.dropout else "")

    def load(self) -> Any:
        """Give the data."""
        return nn.datasets.load_digits() if self.data == "digits" else nn.datasets.load(FASHION)


CASES = (
    Case("digits", (64, 64, 10), batch=32, epochs=20, seeds=5),
    Case("fashion", (784, 128, 10), batch=100, epochs=5, seeds=3, samples=12_000),
    Case("fashion", (784, 128, 64, 10), 100, 5, 3, batch_norm=True, dropout=0.1, samples=12_000),
)
QUICK = (Case("digits", (64, 64, 10), batch=32, epochs=3, seeds=2),)


def train(case: Case, data: Any, backend: str, dtype: str | None, seed: int) -> dict[str, float]:
    """Train once; give the accuracy, the scale of the loss and the time of an epoch."""
    x, y = data.x_train[: case.samples], data.y_train[: case.samples]
    model = nn.Model(
        *layers(case.sizes, dropout=case.dropout, batch_norm=case.batch_norm),
        loss=nn.SoftmaxCrossEntropy(),
        backend=backend,
        seed=seed,
        compute_dtype=dtype,
    )
    model.fit(x.reshape(len(x), -1), y, epochs=case.epochs, batch_size=case.batch, progress=False)
    scale, *_ = model.training.slots.get("loss_scale", (np.ones(1),))
    x_test = data.x_test.reshape(len(data.x_test), -1)
    return {
        "accuracy": model.evaluate(x_test, data.y_test)["accuracy"],
        "scale": float(to_numpy(scale)[0]),
        "seconds": median(model.history["seconds"]),
    }


def measure(case: Case, backend: str) -> list[dict[str, Any]]:
    """Train with every dtype that the backend has, and every seed."""
    data, found = case.load(), []
    for dtype in DTYPES:
        if dtype is None or nn.select(backend).supports(dtype):
            runs = [train(case, data, backend, dtype, seed) for seed in range(case.seeds)]
            columns = {name: [run[name] for run in runs] for name in runs[0]}
            named = {"case": case.name, "backend": backend, "dtype": dtype or "float32"}
            found.append({**named, **columns})
            print(*row(found[-1], found[0]), sep=" | ", flush=True)
    return found


def row(result: dict[str, Any], float32: dict[str, Any]) -> list[str]:
    """Write the accuracies in percent, beside those of the same seeds in float32."""
    gaps = [100 * (one - other) for one, other in zip(result["accuracy"], float32["accuracy"])]
    own = result is float32
    scales = sorted({f"2^{np.log2(scale):.0f}" for scale in result["scale"]})
    return [
        *(result["case"], result["backend"], result["dtype"]),
        spread([100 * one for one in result["accuracy"]]),
        "" if own else f"{mean(gaps):+.2f} ± {stdev(gaps):.2f}",
        ", ".join(scales) if result["dtype"] == "float16" else "",
        f"{median(result['seconds']):.2f}",
    ]


def spread(values: list[float]) -> str:
    """Write a mean and a standard deviation.

    Examples
    --------
    >>> spread([97.0, 98.0, 99.0])
    '98.00 ± 1.00'
    """
    return f"{mean(values):.2f} ± {stdev(values):.2f}"


def usable(names: list[str]) -> list[str]:
    """Leave out the backends that cannot compute here."""
    found = []
    for name in names:
        try:
            found.append(nn.select(name).spec)
        except BackendUnavailableError as error:
            print(f"<!-- left out: {error} -->", flush=True)
    return found


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--backend", action="append", metavar="SPEC", help="default: torch and jax")
    options = cli.parse_args()
    cases = [
        one
        for one in (QUICK if options.quick else CASES)
        if one.data == "digits" or FASHION.is_dir()
    ]
    backends = usable(options.backend or ["torch", "jax"])
    results = [measure(case, backend) for case in cases for backend in backends]
    modules = [BACKENDS[one.partition(":")[0]].module for one in backends]
    rows = [row(one, group[0]) for group in results for one in group]
    trained = [
        f"{one.name}: {one.epochs} epochs of batches of {one.batch}"
        + (f", of the first {one.samples:,} samples" if one.samples else "")
        + f", {one.seeds} seeds"
        for one in cases
    ]
    parts = [
        "# Mixed precision: what it costs in accuracy",
        preamble(options, __file__, versions(["anyback_nn", *modules])),
        f"Trained with Adam(0.001). {'; '.join(trained)}.",
        "Test accuracy in percent, mean and standard deviation over the seeds; the mean of the "
        "differences to float32, seed by seed, in percentage points; the scale of the loss in the "
        "end, which starts at 2^15; the time of an epoch, in which 16 bits gain nothing on a CPU:",
        table(HEAD, rows, TEXTS),
    ]
    publish(options, parts, {"results": [one for group in results for one in group]})


if __name__ == "__main__":
    main()
