"""``anyback-nn verify``: whether the backends of this machine compute the same."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from anyback_nn.backends import Backend
from anyback_nn.backends.libraries import TRAINING
from anyback_nn.cli import options, recipe
from anyback_nn.cli.plot import check_plot, draw
from anyback_nn.cli.printing import Printer, create_table
from anyback_nn.datasets import load
from anyback_nn.errors import AnybackError
from anyback_nn.testing.comparison import Comparison, Run, by_size, compare_backends, describe
from anyback_nn.testing.variants import select, usable

__all__ = ["verify"]

SHOWN = ("loss", "gradients", "parameters")


def verify(
    data: options.OptionalData = "digits",
    target: options.Target = None,
    task: options.Task = "auto",
    hidden: options.Hidden = "64,32",
    activation: options.Activation = "tanh",
    dropout: options.Dropout = 0.1,
    optimizer: options.OptimizerName = "adam",
    learning_rate: options.LearningRate = None,
    steps: options.Steps = 200,
    batch_size: options.BatchSize = 64,
    seed: options.Seed = 0,
    backends: options.BackendSpecs = None,
    dtype: options.Dtypes = "float32,float64",
    plot: options.Plot = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Train on several backends side by side, and compare each step with NumPy's.

    Fails if they differ from NumPy in float64 by more than 1e-4 in float32, or 1e-10 in float64.

    With relu, rounding can move a unit near 0 to the other side: a jump that is no mistake.
    """
    selection, missing = select_backends(backends)
    if plot is not None:
        check_plot(plot, force=force)

    dataset = load(data, target=target, task=task)
    rule = recipe.build_optimizer(optimizer, learning_rate=learning_rate)
    printer = Printer(as_json=json)
    printer.notes([*dataset.notes, *(f"left out: {reason}" for reason in missing)])
    printer.show(recipe.describe_data(dataset) + "\n")
    comparisons = []
    for kind in options.parse_names(dtype):
        able = [backend for backend in selection if backend.supports(kind)]
        unable = [backend.spec for backend in selection if backend not in able]
        printer.notes(f"{spec} is left out in {kind}, which its device lacks" for spec in unable)
        if not able:
            continue
        model = recipe.build_model(
            dataset,
            "numpy",
            hidden=hidden,
            activation=activation,
            dropout=dropout,
            seed=seed,
            dtype=kind,
        )
        comparison = compare_backends(
            model,
            (dataset.x_train, dataset.y_train),
            able,
            steps,
            optimizer=rule,
            batch_size=batch_size,
            test=(dataset.x_test, dataset.y_test),
        )
        comparisons.append(comparison)
        limit = comparison.runs[0].tolerance
        printer.show(f"{kind}: relative differences from numpy in float64, allowed: {limit:.0e};")
        printer.show(f"at step 1 (first line of each backend) and step {steps} (second)\n")
        printer.show(differences_table(comparison))
        printer.show("")
    if not comparisons:
        raise AnybackError("there is nothing to compare: choose another --dtype or --backends")
    if plot is not None:
        draw(comparisons, plot)
    runs = [run for comparison in comparisons for run in comparison.runs]
    wrong = [run for run in runs if not run.agrees]
    printer.show("They differ." if wrong else "All agree.")
    result = {
        "data": dataset.name,
        "steps": steps,
        "agree": not wrong,
        "reference": run_to_json(comparisons[0].reference),
        "runs": [run_to_json(run) for run in runs],
    }
    printer.end(result, written=plot)
    if wrong:
        raise AnybackError("\n".join(map(describe, wrong)))


def select_backends(specs: str | None) -> tuple[list[Backend], list[str]]:
    """Select the backends to compare; the second result is why others are left out."""
    if specs is None:
        backends, missing = usable(TRAINING)
        return backends, list(missing.values())
    with options.usage_error("--backends"):
        backends = [select(name) for name in options.parse_names(specs)]
    for backend in backends:
        backend.check_computes("steps")
    return backends, []


def differences_table(comparison: Comparison) -> Table:
    """Create the table of the largest relative differences at the first and at the last step."""
    score = "accuracy" if "accuracy" in comparison.reference.scores else "r2"
    numeric = (*SHOWN, score, "seconds")
    table = create_table("backend", *numeric, numeric=numeric)
    table.columns[0].overflow = "fold"
    for run in (comparison.reference, *comparison.runs):
        label = Text(run.backend, "" if run.agrees else "bold red")
        label.append(" (reference)" if run is comparison.reference else "")
        label.append("" if run.agrees else " differs")
        label.append(f"\n{run.version}, {run.device}", style="dim")
        cells = [
            "\n".join(f"{run.differences[name][step].relative:.1e}" for step in (0, -1))
            if run.differences
            else "-\n-"
            for name in SHOWN
        ]
        table.add_row(label, *cells, f"\n{run.scores[score]:.4f}", f"\n{run.seconds:.2f}")
    return table


def run_to_json(run: Run) -> dict[str, Any]:
    """Return a run as JSON, with the relative differences at every step."""
    result: dict[str, Any] = {
        name: getattr(run, name)
        for name in ("backend", "version", "device", "dtype", "seconds", "scores")
    }
    if not run.differences:
        return result
    result |= {
        "tolerance": run.tolerance,
        "agrees": run.agrees,
        "largest": {
            name: max(rows, key=by_size)._asdict() for name, rows in run.differences.items()
        },
        "steps": {name: [row.relative for row in rows] for name, rows in run.differences.items()},
    }
    if run.first:
        step, quantity, difference = run.first
        result["first"] = {"step": step, "quantity": quantity, **difference._asdict()}
    return result
