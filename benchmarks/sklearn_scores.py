"""scikit-learn's perceptrons and ours on small data sets: the scores of 5-fold cross-validation.

    python benchmarks/sklearn_scores.py --output benchmarks/results/sklearn_scores.md

Both have their default settings; both get inputs that are standardised in a pipeline, the same
folds and the same seeds. Fold by fold, the difference is that of two programs which should compute
the same, so it is the largest one of them that is reported beside the means.
"""

from __future__ import annotations

import argparse
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import anyback_nn as nn
from anyback_nn.sklearn import MLPClassifier, MLPRegressor

SEEDS = (0, 1, 2)
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
TEXT_COLUMNS = 3


def scores(make: Callable[..., Any], x: Any, y: Any, **settings: Any) -> Any:
    """Give the score of every fold, for every seed: of the shuffling, and of the network."""
    found = []
    for seed in SEEDS:
        kind = StratifiedKFold if y.dtype.kind == "i" else KFold
        folds = kind(5, shuffle=True, random_state=seed)
        model = make_pipeline(StandardScaler(), make(random_state=seed, **settings))
        found.append(cross_val_score(model, x, y, cv=folds))
    return np.concatenate(found)


def compare(name: str) -> list[list[str]]:
    """Cross-validate on one data set: a row of the table for each variant."""
    load, score = DATA[name]
    x, y = load(return_X_y=True)
    classifies = score == "accuracy"
    theirs = scores(TheirClassifier if classifies else TheirRegressor, x, y)
    rows = []
    for variant, settings in VARIANTS.items():
        ours = scores(MLPClassifier if classifies else MLPRegressor, x, y, **settings)
        largest = np.max(np.abs(ours - theirs))
        rows.append([name, score, variant, spread(theirs), spread(ours), f"{largest:.1e}"])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def spread(values: Any) -> str:
    """Write a mean and a standard deviation."""
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table, whose first columns are text and whose others are numbers."""
    numbers = len(head) - TEXT_COLUMNS
    lines = [head, [*["---"] * TEXT_COLUMNS, *["---:"] * numbers], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", action="append", choices=DATA, help="default: all of them")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write the table")
    options = parser.parse_args()
    # 200 epochs, the default, end before some of these runs have converged, on both sides.
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = [row for name in options.data or DATA for row in compare(name)]
    versions = {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "PyTorch": nn.select("torch").version,
        "anyback_nn": nn.__version__,
    }
    parts = [
        "# scikit-learn's perceptrons and ours: scores",
        f"{', '.join(f'{name} {one}' for name, one in versions.items())}. Made by "
        "`benchmarks/sklearn_scores.py`.",
        "Mean and standard deviation over 15 folds (5-fold cross-validation with each of three "
        "seeds). Default settings on both sides but for the third column; inputs standardised in a "
        "pipeline; the same folds and seeds. scikit-learn's has no variants: its numbers are "
        "repeated for comparison. R2 is negative because the targets, which are of about the size "
        "150, are not standardised: 200 epochs, the default, are too few for them.",
        table(HEAD, rows),
    ]
    text = "\n\n".join(parts) + "\n"
    print(text, end="")
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
