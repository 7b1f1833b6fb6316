"""How long scikit-learn's perceptrons and ours train on the same data, by the same steps.

    nox -s bench                                   # or, in an environment that has scikit-learn:
    python benchmarks/sklearn_estimators.py --output benchmarks/results/sklearn_estimators.md

Both are fitted with their defaults, from the same random state, so that they take the same epochs
of the same batches. They take turns; the times are medians, and the ratio is the median of the
ratios of each turn, which other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import sklearn
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as SklearnClassifier

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
HEAD = ["data", "dtype", "solver", "epochs", "scikit-learn", "anyback_nn", "ratio", "same loss"]


def data_sets() -> dict[str, tuple[Any, Any]]:
    """Give the data that both are fitted to."""
    return {
        "digits, 1,797 x 64": load_digits(return_X_y=True),
        "synthetic, 20,000 x 50": make_classification(20_000, 50, n_informative=20, random_state=0),
    }


def fitted(kind: Any, x: Any, y: Any, **options: Any) -> tuple[float, Any]:
    """Fit one and give the seconds that it took."""
    mlp = kind(random_state=0, **options)
    started = time.perf_counter()
    mlp.fit(x, y)
    return time.perf_counter() - started, mlp


def compare(name: str, x: Any, y: Any, repeats: int, **options: Any) -> list[str]:
    """Time one combination: a row of the table."""
    theirs, ours = [], []
    for _ in range(repeats):
        theirs.append(fitted(SklearnClassifier, x, y, **options))
        ours.append(fitted(MLPClassifier, x, y, **options))
    seconds = [median(took for took, _ in side) for side in (theirs, ours)]
    ratio = median(one / other for (one, _), (other, _) in zip(theirs, ours))
    same = np.isclose(theirs[0][1].loss_, ours[0][1].loss_, rtol=1e-3)
    epochs = [side[0][1].n_iter_ for side in (theirs, ours)]
    return [
        name,
        str(x.dtype),
        options["solver"],
        str(epochs[0]) if epochs[0] == epochs[1] else f"{epochs[0]}, {epochs[1]}",
        *(f"{one:.2f} s" for one in seconds),
        f"**{ratio:.2f}**",
        "yes" if same else "no",
    ]


def table(head: list[str], rows: list[list[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * 4 + ["---:"] * (len(head) - 5) + ["---"], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--machine", default=f"{os.cpu_count()}-core CPU", help="how to call it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a few epochs of each only")
    parser.add_argument("--remark", default="", help="what else a reader should know")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write the table")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [
        compare(
            name,
            x.astype(dtype),
            y,
            options.repeats,
            solver=solver,
            **({"max_iter": 10} if options.quick else {}),
        )
        for name, (x, y) in data_sets().items()
        for dtype in ("float32", "float64")
        for solver in ("adam", "sgd")
    ]
    versions = {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "anyback_nn": nn.__version__,
    }
    threads = [f"`{name}={os.environ.get(name, 'not set')}`" for name in THREADS]
    text = "\n\n".join(
        [
            "# Training time beside scikit-learn's MLPClassifier",
            f"{options.machine}; {', '.join(f'{name} {one}' for name, one in versions.items())}; "
            f"{', '.join(threads)}. Made by `benchmarks/sklearn_estimators.py`, which says how. "
            f"{options.remark}".rstrip(),
            f"Seconds of `fit` with defaults on both sides, medians of {options.repeats}, and the "
            "ratio, scikit-learn's time over ours:",
            table(HEAD, rows),
        ]
    )
    print(text)
    if options.output:
        options.output.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
