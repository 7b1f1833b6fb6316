"""scikit-learn's perceptrons and ours on small data sets: the scores of 5-fold cross-validation.

    python benchmarks/sklearn_scores.py --output sklearn_scores

Both have their default settings; both get inputs that are standardised in a pipeline, the same
folds and the same seeds. Fold by fold, the difference is that of two programs which should compute
the same, so it is the largest one of them that is reported beside the means.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from report import parser, preamble, publish, table, versions
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anyback_nn.sklearn import MLPClassifier, MLPRegressor

DATA: dict[str, tuple[Callable[..., Any], str]] = {
    "digits": (datasets.load_digits, "accuracy"),
    "breast cancer": (datasets.load_breast_cancer, "accuracy"),
    "wine": (datasets.load_wine, "accuracy"),
    "iris": (datasets.load_iris, "accuracy"),
    "diabetes": (datasets.load_diabetes, "R2"),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    'backend="torch"': {"backend": "torch"},
    'dtype="float32"': {"dtype": "float32"},
}
HEAD = ["data set", "score", "ours with", "scikit-learn", "ours", "largest difference of a fold"]


def scores(make: Callable[..., Any], x: Any, y: Any, seeds: int, **settings: Any) -> Any:
    """Give the score of every fold, for every seed: of the shuffling, and of the network."""
    found = []
    for seed in range(seeds):
        kind = StratifiedKFold if y.dtype.kind == "i" else KFold
        folds = kind(5, shuffle=True, random_state=seed)
        model = make_pipeline(StandardScaler(), make(random_state=seed, **settings))
        found.append(cross_val_score(model, x, y, cv=folds))
    return np.concatenate(found)


def compare(name: str, seeds: int) -> list[list[str]]:
    """Cross-validate on one data set: a row of the table for each variant."""
    load, score = DATA[name]
    x, y = load(return_X_y=True)
    classifies = score == "accuracy"
    theirs = scores(TheirClassifier if classifies else TheirRegressor, x, y, seeds)
    rows = []
    for variant, settings in VARIANTS.items():
        ours = scores(MLPClassifier if classifies else MLPRegressor, x, y, seeds, **settings)
        largest = np.max(np.abs(ours - theirs))
        rows.append([name, score, variant, spread(theirs), spread(ours), f"{largest:.1e}"])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def spread(values: Any) -> str:
    """Write a mean and a standard deviation."""
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--data", action="append", choices=DATA, help="default: all of them")
    options = cli.parse_args()
    seeds = 1 if options.quick else 3
    # 200 epochs, the default, end before some of these runs have converged, on both sides.
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [row for name in options.data or DATA for row in compare(name, seeds)]
    named = versions(["numpy", "scikit-learn", "torch", "anyback_nn"])
    parts = [
        "# scikit-learn's perceptrons and ours: scores",
        preamble(options, __file__, named),
        f"Mean and standard deviation over {5 * seeds} folds (5-fold cross-validation, {seeds} "
        "times, each with a seed of its own). Default settings on both sides but for the third "
        "column; inputs standardised in a pipeline; the same folds and seeds. scikit-learn's has "
        "no variants: its numbers are repeated for comparison. R2 is negative because the targets, "
        "which are of about the size 150, are not standardised: 200 epochs, the default, are too "
        "few for them.",
        table(HEAD, rows, texts=3),
    ]
    publish(options, parts, {"versions": named, "results": [dict(zip(HEAD, row)) for row in rows]})


if __name__ == "__main__":
    main()
