"""How long scikit-learn's perceptrons and ours train on the same data, by the same steps.

    python -m benchmarks sklearn_estimators --quick

Both are fitted with their defaults, from the same random state, so that they take the same epochs
of the same batches. They take turns; times are medians, ratios are medians of the ratios of each
turn.
"""

from __future__ import annotations

import time
import warnings
from statistics import median
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as SklearnClassifier

from anyback_nn.sklearn import MLPClassifier
from benchmarks.harness.report import format_table, make_parser, publish
from benchmarks.harness.turns import median_ratio

HEAD = ["data", "dtype", "solver", "same loss", "epochs", "scikit-learn", "anyback_nn", "ratio"]


def load_data() -> dict[str, tuple[Any, Any]]:
    """Load the data that both are fitted to."""
    return {
        "digits, 1,797 x 64": load_digits(return_X_y=True),
        "synthetic, 20,000 x 50": make_classification(20_000, 50, n_informative=20, random_state=0),
    }


def time_fit(kind: Any, x: Any, y: Any, **options: Any) -> tuple[float, Any]:
    """Fit an estimator; return the seconds and the estimator."""
    estimator = kind(random_state=0, **options)
    started = time.perf_counter()
    estimator.fit(x, y)
    return time.perf_counter() - started, estimator


def compare(name: str, x: Any, y: Any, repeats: int, **options: Any) -> dict[str, Any]:
    """Time one combination."""
    theirs, ours = [], []
    for _ in range(repeats):
        theirs.append(time_fit(SklearnClassifier, x, y, **options))
        ours.append(time_fit(MLPClassifier, x, y, **options))
    return {
        "data": name,
        "dtype": str(x.dtype),
        "solver": options["solver"],
        "same loss": bool(np.isclose(theirs[0][1].loss_, ours[0][1].loss_, rtol=1e-3)),
        "epochs": [fits[0][1].n_iter_ for fits in (theirs, ours)],
        "scikit-learn": [seconds for seconds, _ in theirs],
        "anyback_nn": [seconds for seconds, _ in ours],
    }


def format_row(result: dict[str, Any]) -> list[str]:
    """Format a row of the table."""
    times = [result[name] for name in ("scikit-learn", "anyback_nn")]
    return [
        *(result[name] for name in ("data", "dtype", "solver")),
        "yes" if result["same loss"] else "no",
        ", ".join(map(str, dict.fromkeys(result["epochs"]))),
        *(f"{median(seconds):.2f} s" for seconds in times),
        f"**{median_ratio(*times):.2f}**",
    ]


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report if asked to."""
    parser = make_parser(__doc__, "sklearn_estimators")
    parser.add_argument("--repeats", type=int, default=0, help="fits of each; default: 5, quick: 3")
    options = parser.parse_args(arguments)
    repeats = options.repeats or (3 if options.quick else 5)
    warnings.simplefilter("ignore", ConvergenceWarning)
    few = {"max_iter": 10} if options.quick else {}
    results = [
        compare(name, x.astype(dtype), y, repeats, solver=solver, **few)
        for name, (x, y) in load_data().items()
        for dtype in ("float32", "float64")
        for solver in ("adam", "sgd")
    ]
    paragraphs = [
        f"Seconds of `fit` with defaults on both sides, medians of {repeats}, and the ratio, "
        "scikit-learn's time over ours:",
        format_table(HEAD, [format_row(result) for result in results], n_strings=4),
    ]
    title = "Training time of scikit-learn's MLPClassifier and ours"
    packages = ("numpy", "scikit-learn", "anyback_nn")
    publish(options, __file__, title, packages, paragraphs, results=results)
