"""``anyback-nn verify``: whether the backends of this machine compute the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from anyback_nn.cli import options
from anyback_nn.errors import AnybackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from anyback_nn.backends import Backend
    from anyback_nn.testing.comparison import Comparison, Run

__all__ = ["verify"]

SHOWN = ("loss", "gradients", "parameters")


def verify(
    data: options.OptionalData = "digits",
    target: options.Target = None,
    task: options.Task = "auto",
    hidden: options.Hidden = "64,32",
    activation: options.Activation = "tanh",
    dropout: options.Dropout = 0.1,
    optimizer: options.Optimizer = "adam",
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
    """Train on several backends side by side, and compare every step with NumPy in float64.

    Fails if they differ by more than rounding: by 1e-4 in float32, by 1e-10 in float64. (With relu,
    rounding can put a unit near 0 on the other side, which is a jump and no mistake.)
    """
    chosen, missing = selected(backends)
    if plot is not None:
        from anyback_nn.cli.drift import check_plot

        check_plot(plot, force=force)

    from anyback_nn.cli.report import Report
    from anyback_nn.cli.train import build, contents, hidden_layers, rule
    from anyback_nn.datasets import load
    from anyback_nn.testing.comparison import compare_backends, describe

    dataset = load(data, target=target, task=task)
    layers = hidden_layers(options.widths(hidden), activation, dropout)
    report = Report(as_json=json)
    report.notes([*dataset.notes, *missing])
    report.show(contents(dataset) + "\n")
    comparisons = []
    for kind in options.names(dtype):
        model = build(layers, dataset, "numpy", seed, kind)
        able = [one for one in chosen if one.supports(kind)]
        unable = [one.spec for one in chosen if one not in able]
        report.notes(f"{spec} is left out in {kind}, which its device lacks" for spec in unable)
        if not able:
            continue
        comparisons.append(
            compare_backends(
                model,
                (dataset.x_train, dataset.y_train),
                able,
                steps,
                optimizer=rule(optimizer, learning_rate, "constant", 0.0, epochs=1),
                batch_size=batch_size,
                test=(dataset.x_test, dataset.y_test),
            )
        )
        limit = comparisons[-1].runs[0].tolerance
        report.show(f"{kind}: relative differences from numpy in float64, allowed: {limit:.0e};")
        report.show(f"at step 1 (first line of each backend) and step {steps} (second)\n")
        report.show(differences_table(comparisons[-1]))
        report.show("")
    if not comparisons:
        raise AnybackError("there is nothing to compare: choose another --dtype or --backends")
    if plot is not None:
        from anyback_nn.cli.drift import draw

        draw(comparisons, plot)
    agree = all(comparisons)
    report.show("All agree." if agree else "They differ.")
    result = {
        "data": dataset.name,
        "steps": steps,
        "agree": agree,
        "reference": in_json(comparisons[0].reference),
        "runs": [in_json(run) for comparison in comparisons for run in comparison.runs],
    }
    report.end(result, written=plot)
    if not agree:
        apart = [run for comparison in comparisons for run in comparison.runs if not run.agrees]
        raise AnybackError("\n".join(map(describe, apart)))


def selected(specs: str | None) -> tuple[list[Backend], Sequence[str]]:
    """Select the backends to compare; the second result says why others are left out."""
    from anyback_nn.backends import BACKENDS
    from anyback_nn.testing.variants import select, usable

    if specs is None:
        backends, missing = usable(BACKENDS)
        return backends, [f"left out: {reason}" for reason in missing.values()]
    try:
        if not (names := options.names(specs)):
            raise ValueError("expected at least one backend")
        return [select(name) for name in names], []
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--backends'") from error


def differences_table(comparison: Comparison) -> Table:
    """List the largest relative differences at the first and at the last step."""
    from rich.text import Text

    from anyback_nn.cli.report import table

    score = _score(comparison.reference)
    numeric = (*SHOWN, score, "seconds")
    made = table("backend", *numeric, numeric=numeric)
    made.columns[0].overflow = "fold"
    for run in (comparison.reference, *comparison.runs):
        label = Text(run.backend, "" if run.agrees else "bold red")
        label.append(" (reference)" if run is comparison.reference else "")
        label.append("" if run.agrees else " differs")
        label.append(f"\n{run.version}, {run.device}", style="dim")
        cells = [
            "\n".join(f"{run.differences[one][at].relative:.1e}" for at in (0, -1))
            if run.differences
            else "-\n-"
            for one in SHOWN
        ]
        made.add_row(label, *cells, f"\n{run.scores[score]:.4f}", f"\n{run.seconds:.2f}")
    return made


def _score(run: Run) -> str:
    return "accuracy" if "accuracy" in run.scores else "r2"


def in_json(run: Run) -> dict[str, Any]:
    """Give a run as JSON, with the relative differences at every step."""
    from anyback_nn.testing.comparison import by_size

    described: dict[str, Any] = {
        name: getattr(run, name) for name in ("backend", "version", "device", "dtype", "seconds")
    }
    described["scores"] = run.scores
    if not run.differences:
        return described
    described |= {
        "tolerance": run.tolerance,
        "agrees": run.agrees,
        "largest": {one: max(rows, key=by_size)._asdict() for one, rows in run.differences.items()},
        "steps": {one: [row.relative for row in rows] for one, rows in run.differences.items()},
    }
    if run.first:
        step, quantity, difference = run.first
        described["first"] = {"step": step, "quantity": quantity, **difference._asdict()}
    return described
