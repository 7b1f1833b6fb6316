"""``anyback-nn report``: what a run has learned, and how, as one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyback_nn.cli import options, run_folder
from anyback_nn.cli.printing import Printer
from anyback_nn.cli.reporting import build_subject, list_scores, recall_scores, write_report
from anyback_nn.cli.run_data import load_again
from anyback_nn.cli.scores import choose_judge, compute_scores
from anyback_nn.errors import AnybackError
from anyback_nn.model import Model
from anyback_nn.report import read_activity, require_libraries
from anyback_nn.utils.memory import limit_memory

__all__ = ["report"]


def report(
    run: options.Run,
    data: options.DataAgain = None,
    output: options.ReportFile = None,
    force: options.Force = False,
    memory_limit: options.MemoryLimit = None,
    backend: options.BackendSpec = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a report of RUN as one HTML page: scores, curves, mistakes, what to look at.

    The data of training are read again from where they were. Without them, and for a model file
    alone, the report has what is known without data, and replaces no other. That of a model file
    m.safetensors is m.report.html.
    """
    require_libraries()
    folder = run if run.is_dir() else run.parent
    if output is None:
        is_run = run.is_dir() or run.name == run_folder.MODEL
        output = folder / run_folder.REPORT if is_run else run.with_suffix(".report.html")
    run_folder.check_file(output, force=force)
    device = options.select_backend(backend)
    path = run_folder.find_model(run)
    model = Model.load(path, device)
    noted = read_notes(run)
    activity = folder / run_folder.ACTIVITY
    known: dict[str, Any] = {"activity": read_activity(activity) if activity.exists() else None}
    title = folder.resolve().name if run.is_dir() else run.name
    encoding, dataset = None, None
    try:
        encoding = run_folder.read_encoding(path, model)
        with limit_memory(memory_limit):
            _, dataset = load_again(run, encoding, data)
    except AnybackError as error:
        if data is not None:
            raise
        if output.exists():
            raise AnybackError(
                f"{error}. {output} exists, and may have parts that need data: remove it first, or "
                "write another file with --output"
            ) from error
        known |= {"missing": str(error), "scores": recall_scores(noted)}
    else:
        title = dataset.name
        scores = compute_scores(model, encoding, dataset.x_test, dataset.y_test)
        balanced = noted.get("asked", {}).get("class_weight") is not None
        judged = scores.compare(choose_judge(model, encoding, balanced=balanced))
        known |= {"scores": list_scores(scores), "warnings": [judged] if judged else []}
    write_report(build_subject(title, model, encoding, dataset, noted, **known), output)

    printer = Printer(as_json=json, quiet=quiet)
    if dataset is None:
        printer.notes([f"the report has no part that needs data: {known['missing']}"])
    printer.end({"file": output, "has_data": dataset is not None}, written=output)


def read_notes(run: Path) -> Mapping[str, Any]:
    """Return what train has noted next to a model; empty if it has not."""
    try:
        noted = run_folder.read_settings(run)
    except (OSError, ValueError, RecursionError):
        return {}
    return noted if isinstance(noted, Mapping) and isinstance(noted.get("asked"), Mapping) else {}
