"""How long scikit-learn's perceptrons and ours train on the same data, by the same steps.

    nox -s bench                           # with all others, or alone where scikit-learn is:
    python benchmarks/sklearn_estimators.py --output sklearn_estimators

Both are fitted with their defaults, from the same random state, so that they take the same epochs
of the same batches. They take turns; the times are medians, and the ratio is the median of the
ratios of each turn, which other work on the machine changes least.
"""

from __future__ import annotations

import time
import warnings
from statistics import median
from typing import Any

import numpy as np
from report import parser, preamble, publish, ratio, table, versions
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as SklearnClassifier

from anyback_nn.sklearn import MLPClassifier

HEAD = ["data", "dtype", "solver", "same loss", "epochs", "scikit-learn", "anyback_nn", "ratio"]


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


def compare(name: str, x: Any, y: Any, repeats: int, **options: Any) -> dict[str, Any]:
    """Time one combination."""
    theirs, ours = [], []
    for _ in range(repeats):
        theirs.append(fitted(SklearnClassifier, x, y, **options))
        ours.append(fitted(MLPClassifier, x, y, **options))
    return {
        "data": name,
        "dtype": str(x.dtype),
        "solver": options["solver"],
        "same loss": bool(np.isclose(theirs[0][1].loss_, ours[0][1].loss_, rtol=1e-3)),
        "epochs": [side[0][1].n_iter_ for side in (theirs, ours)],
        "scikit-learn": [seconds for seconds, _ in theirs],
        "anyback_nn": [seconds for seconds, _ in ours],
    }


def row(found: dict[str, Any]) -> list[str]:
    """Write a row of the table."""
    sides = [found[name] for name in ("scikit-learn", "anyback_nn")]
    return [
        *(found[name] for name in ("data", "dtype", "solver")),
        "yes" if found["same loss"] else "no",
        ", ".join(map(str, dict.fromkeys(found["epochs"]))),
        *(f"{median(one):.2f} s" for one in sides),
        f"**{ratio(*sides):.2f}**",
    ]


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--repeats", type=int, default=0, help="of each; default: 5, or 3 if quick")
    options = cli.parse_args()
    repeats = options.repeats or (3 if options.quick else 5)
    warnings.simplefilter("ignore", ConvergenceWarning)
    few = {"max_iter": 10} if options.quick else {}
    results = [
        compare(name, x.astype(dtype), y, repeats, solver=solver, **few)
        for name, (x, y) in data_sets().items()
        for dtype in ("float32", "float64")
        for solver in ("adam", "sgd")
    ]
    named = versions(("numpy", "scikit-learn", "anyback_nn"))
    publish(
        options,
        [
            "# Training time beside scikit-learn's MLPClassifier",
            preamble(options, __file__, named),
            f"Seconds of `fit` with defaults on both sides, medians of {repeats}, and the ratio, "
            "scikit-learn's time over ours:",
            table(HEAD, [row(one) for one in results], texts=4),
        ],
        {"versions": named, "results": results},
    )


if __name__ == "__main__":
    main()
