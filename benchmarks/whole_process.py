"""From `python` to a trained digits model, as whole processes: start-up is what users feel.

    python benchmarks/whole_process.py --quick

The programs are those in `programs/`, each as a user of that library writes it: 30 epochs of
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
from children import run
from report import parser, preamble, publish, ratio, table, versions
from turns import columns, in_turns

import anyback_nn as nn

HERE = Path(__file__).parent
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
"""What each program reaches if it trains at all."""


def timed(*arguments: str) -> tuple[float, str]:
    """Run Python with these arguments; give the seconds that it took and what it printed."""
    started = time.perf_counter()
    printed = run(*arguments, KERAS_BACKEND="jax")
    return time.perf_counter() - started, printed


def write_digits(path: Path) -> None:
    """Write the file that all programs read."""
    digits = nn.datasets.load_digits()
    y, y_test = (one.astype(np.int64) for one in (digits.y_train, digits.y_test))
    np.savez(path, x=digits.x_train, y=y, x_test=digits.x_test, y_test=y_test)


def measure(commands: dict[str, list[str]], repeats: int, warm_up: int) -> dict[str, Any]:
    """Run each command when it is its turn.

    Parameters
    ----------
    commands : dict of str to list of str
    repeats, warm_up : int
        Turns that count, and turns before them, in which the disk's cache is filled.

    Returns
    -------
    dict of str to dict
        The ``seconds`` of each turn and what was ``printed``, or the reason why there are none.
    """
    tasks = {name: partial(timed, *command) for name, command in commands.items()}
    return columns(in_turns(tasks, repeats, warm_up), "seconds", "printed")


def accuracies(trained: dict[str, Any]) -> dict[str, float]:
    """Read the accuracy of each program that ran.

    Raises
    ------
    RuntimeError
        One has not learned: it does not do the same work.
    """
    found = {
        name: float(one["printed"][-1]) for name, one in trained.items() if not isinstance(one, str)
    }
    for name, accuracy in found.items():
        if accuracy < LEAST_ACCURACY:
            raise RuntimeError(f"{name}: an accuracy of {accuracy}: it has not been trained")
    return found


def row(name: str, found: dict[str, Any], to: str, *more: str) -> list[str]:
    """Write a row of a table: median, range, ratio."""
    if isinstance(found[name], str):
        return [f"{name} ({found[name]})", "-", "-", "-", *more]
    own = found[name]["seconds"]
    spread = f"{min(own):.2f} to {max(own):.2f}"
    to_other = f"{ratio(own, found[to]['seconds']):.2f}"
    return [name, f"{median(own):.3f}", spread, to_other, *more]


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--repeats", type=int, default=0, help="processes of each; default: 7")
    options = cli.parse_args()
    repeats, warm_up = options.repeats or (2 if options.quick else 7), 0 if options.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "digits.npz")
        write_digits(data)
        programs = {
            name: [str(HERE / "programs" / file), str(data)] for name, file in PROGRAMS.items()
        }
        trained = measure(programs, repeats, warm_up)
    imports = {name: ["-c", code] for name, code in IMPORTS.items()}
    imported = measure(imports, repeats, warm_up)
    accuracy = accuracies(trained)
    named = versions(PACKAGES)
    publish(
        options,
        [
            "# From `python` to a trained model",
            preamble(options, __file__, named),
            f"Seconds of whole processes that train digits 64-64-10 for 30 epochs, medians of "
            f"{repeats}, after {warm_up} for warm-up; their time over ours:",
            table(
                ["", "seconds", "range", "ratio", "accuracy"],
                [
                    row(name, trained, OURS, f"{accuracy.get(name, float('nan')):.3f}")
                    for name in PROGRAMS
                ],
            ),
            "Seconds of whole processes that only import; ours is read when it is used, so "
            "`import anyback_nn` alone is next to nothing, and ratios are to `anyback_nn.Model`:",
            table(
                ["import", "seconds", "range", "ratio"],
                [row(name, imported, MODEL) for name in IMPORTS],
            ),
        ],
        {"versions": named, "trained": trained, "imported": imported, "accuracy": accuracy},
    )


if __name__ == "__main__":
    main()
