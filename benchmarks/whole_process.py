"""From `python` to a trained digits model, as whole processes: start-up is what users feel.

    python -m benchmarks whole_process --quick

The programs are those in `peers/programs/`, each as a user of that library writes it: 30 epochs of
64-64-10, batches of 32, Adam, in float32. They read the same file and print their accuracy on the
same test samples, which is checked. Imports alone are measured likewise, as processes that do
nothing else. All take turns; times are medians, ratios are medians of the ratios of each turn.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import anyback_nn as nn
from benchmarks.harness.process import run_python
from benchmarks.harness.report import HERE, format_results, make_parser, publish
from benchmarks.harness.turns import median_ratio, name_columns, take_turns

OURS = "ours, numpy"
PROGRAMS = {
    OURS: "ours.py",
    "scikit-learn": "with_sklearn.py",
    "torch eager": "with_torch.py",
    "Keras on JAX": "with_keras.py",
    "JAX + Optax": "with_jax.py",
    "Thinc": "with_thinc.py",
}
IMPORTS = {
    "Python alone": "pass",
    "numpy": "import numpy",
    "anyback_nn": "import anyback_nn",
    "anyback_nn.Model": "from anyback_nn import Model",
    "scikit-learn's MLPClassifier": "from sklearn.neural_network import MLPClassifier",
    "torch": "import torch",
    "Keras on JAX": "import keras",
    "JAX and Optax": "import jax, optax",
    "Thinc": "import thinc.api",
}
MODEL = "anyback_nn.Model"
PACKAGES = ("numpy", "anyback_nn", "scikit-learn", "torch", "keras", "jax", "optax", "thinc")
LEAST_ACCURACY = 0.9
"""Reached by each program that trains at all."""


def time_python(*arguments: str) -> tuple[float, str]:
    """Run Python with these arguments; return the seconds and what it prints."""
    started = time.perf_counter()
    printed = run_python(*arguments, KERAS_BACKEND="jax")
    return time.perf_counter() - started, printed


def write_digits(path: Path) -> None:
    """Write the file that all programs read."""
    digits = nn.datasets.load_digits()
    y, y_test = (labels.astype(np.int64) for labels in (digits.y_train, digits.y_test))
    np.savez(path, x=digits.x_train, y=y, x_test=digits.x_test, y_test=y_test)


def measure(commands: dict[str, list[str]], repeats: int, warm_up: int) -> dict[str, Any]:
    """Run each command when it is its turn.

    Parameters
    ----------
    commands : dict of str to list of str
    repeats, warm_up : int
        The number of turns that count, and of those before them, which fill the disk's cache.

    Returns
    -------
    dict of str to dict or str
        The ``seconds`` of each turn and what was ``printed``, or the reason why there are none.
    """
    tasks = {name: partial(time_python, *command) for name, command in commands.items()}
    return name_columns(take_turns(tasks, repeats, warm_up), "seconds", "printed")


def check_accuracies(trained: dict[str, Any]) -> None:
    """Raise a `RuntimeError` if a program has not learned: it does not do the same work."""
    for name, result in trained.items():
        if isinstance(result, dict) and float(result["printed"][-1]) < LEAST_ACCURACY:
            raise RuntimeError(f"{name}: an accuracy of {result['printed'][-1].strip()}")


def format_seconds(result: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Format median, range, and ratio."""
    seconds = result["seconds"]
    ratio = median_ratio(seconds, reference["seconds"])
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    return [f"{median(seconds):.3f}", spread, f"{ratio:.2f}"]


def format_training(result: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Format median, range, ratio, and accuracy."""
    return [*format_seconds(result, reference), f"{float(result['printed'][-1]):.3f}"]


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report if asked to."""
    parser = make_parser(__doc__, "whole_process")
    parser.add_argument("--repeats", type=int, default=0, help="processes of each; default: 7")
    options = parser.parse_args(arguments)
    repeats, warm_up = options.repeats or (2 if options.quick else 7), 0 if options.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "digits.npz")
        write_digits(data)
        programs = {
            name: [str(HERE / "peers/programs" / file), str(data)]
            for name, file in PROGRAMS.items()
        }
        trained = measure(programs, repeats, warm_up)
    check_accuracies(trained)
    commands = {name: ["-c", code] for name, code in IMPORTS.items()}
    imported = measure(commands, repeats, warm_up)
    head = ["", "seconds", "range", "ratio"]
    format_imports = partial(format_seconds, reference=imported[MODEL])
    paragraphs = [
        f"Seconds of whole processes that train digits 64-64-10 for 30 epochs, medians of "
        f"{repeats}, after {warm_up} for warm-up; their time over ours:",
        format_results(
            [*head, "accuracy"], trained, partial(format_training, reference=trained[OURS])
        ),
        "Seconds of whole processes that only import; ours imports its modules when they are "
        "used, so `import anyback_nn` alone takes little. Ratios are to `anyback_nn.Model`:",
        format_results(["import", *head[1:]], imported, format_imports),
    ]
    title, contents = "From `python` to a trained model", {"trained": trained, "imported": imported}
    publish(options, __file__, title, PACKAGES, paragraphs, **contents)
