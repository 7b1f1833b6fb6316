"""From a run to its report: what the page is told, by ``report`` and by ``train --report``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyback_nn.cli import load_command, options
from anyback_nn.cli.scores import Scores, label, write_score
from anyback_nn.datasets import Dataset, Encoding
from anyback_nn.model import Model
from anyback_nn.pages import write_page
from anyback_nn.report import Score, Subject, build_report
from anyback_nn.utils.arguments import write_settings
from anyback_nn.utils.messages import escape, quoted_list

__all__ = ["build_subject", "list_scores", "recall_scores", "write_report"]

UNRELATED = ("output", "json", "quiet", "log", "report", "watch", "animate", "memory_limit")
"""The options of train that change nothing of the model."""


def write_report(subject: Subject, path: Path) -> None:
    """Build a report, and write it whole or not at all."""
    write_page(build_report(subject), path)


def build_subject(
    title: str,
    model: Model,
    encoding: Encoding | None,
    dataset: Dataset | None,
    noted: Mapping[str, Any],
    **known: Any,
) -> Subject:
    """Collect what a report is about.

    Parameters
    ----------
    title : str
    model, encoding, dataset
        See `Subject`.
    noted : mapping
        What train has noted; it may come from anywhere.
    **known
        Other fields of `Subject`.
    """
    asked, result = (
        part if isinstance(part := noted.get(name), Mapping) else {} for name in ("asked", "result")
    )
    kept = result.get("kept_epoch")
    command = load_command("train")
    shown = {
        parameter.opts[-1]: escape(str(value))
        for parameter in command.params
        if parameter.param_type_name == "option"
        and parameter.name not in UNRELATED
        and (value := asked.get(parameter.name)) is not None
        and value is not False
    }
    is_known = isinstance(asked.get("data"), str)
    asked = {name: value for name, value in asked.items() if name not in UNRELATED}
    line = options.write_command(command, asked, always=("seed", "backend", "epochs"))
    return Subject(
        title,
        model,
        encoding,
        dataset,
        kept_epoch=kept if isinstance(kept, int) and 0 < kept <= len(model.history) else None,
        facts={
            **describe_data(encoding, dataset, asked.get("data")),
            **describe_model(model),
            **describe_run(result, noted.get("versions", noted.get("anyback_nn"))),
        },
        options=shown,
        command=f"anyback-nn {escape(line)}" if is_known else "",
        **known,
    )


def describe_data(
    encoding: Encoding | None, dataset: Dataset | None, data: object
) -> dict[str, str]:
    """Describe the data in words."""
    facts = {} if data is None else {"data": escape(str(data))}
    if encoding is not None:
        facts["task"] = encoding.task
        names = getattr(encoding.features, "names", ())
        of = f" from the columns {quoted_list(names, 12, str)}" if names else ""
        facts["features"] = escape(f"{encoding.n_features}{of}")
        if encoding.classes is not None:
            facts["classes"] = escape(
                f"{len(encoding.classes)}: {quoted_list(encoding.classes, 12, str)}"
            )
    if dataset is not None:
        facts["rows"] = (
            f"{len(dataset.x_train):,} to train and validate with, {len(dataset.x_test):,} to test"
        )
        if dataset.notes:
            facts["notes"] = escape("; ".join(dataset.notes))
    return facts


def describe_model(model: Model) -> dict[str, str]:
    """Describe how a model was trained, as far as it knows."""
    optimizer = model.training.optimizer
    return {
        "parameters": f"{model.layout.size:,}",
        "loss": write_settings(model.loss),
        **({} if optimizer is None else {"optimizer": write_settings(optimizer)}),
        "epochs": f"{len(model.history):,}",
        "seed": str(model.seed),
        "dtype": model.dtype + (f", steps in {model.compute_dtype}" if model.compute_dtype else ""),
    }


def describe_run(result: Mapping[str, Any], versions: Any) -> dict[str, str]:
    """Describe where and how long a run was trained."""
    facts = {}
    if "backend" in result:
        facts["backend"] = escape(f"{result['backend']} on {result.get('device', 'unknown')}")
    if isinstance(seconds := result.get("seconds"), float):
        facts["seconds"] = f"{seconds:.1f}"
    if isinstance(versions, Mapping):
        named = (f"{name} {version}" for name, version in versions.items())
        facts["versions"] = escape(", ".join(named))
    elif isinstance(versions, str):
        facts["versions"] = escape(f"anyback-nn {versions}")
    return facts


def list_scores(scores: Scores) -> list[Score]:
    """List the scores of the test part as a report shows them."""
    rows = [
        _write(label(name), name, value, scores.baseline) for name, value in scores.values.items()
    ]
    for target, part in scores.targets.items():
        rows += [
            _write(f"{label(name)} of {escape(target)}", name, value, part.baseline)
            for name, value in part.values.items()
        ]
    return rows


def recall_scores(noted: Mapping[str, Any]) -> list[Score]:
    """List the scores that train has noted."""
    result = noted.get("result")
    values = result if isinstance(result, Mapping) else {}
    baseline = values.get("test_baseline")
    return [
        _write(label(name), name, value, baseline if isinstance(baseline, Mapping) else {})
        for test_name, value in values.items()
        if test_name.startswith("test_") and isinstance(value, float)
        for name in [test_name.removeprefix("test_")]
    ]


def _write(shown: str, name: str, value: float, baselines: Mapping[str, Any]) -> Score:
    baseline = baselines.get(name)
    written = write_score(name, baseline) if isinstance(baseline, float) else ""
    return Score(shown, write_score(name, value), written)
