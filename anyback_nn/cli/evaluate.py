"""``anyback-nn evaluate``: the scores of a trained model on data."""

from __future__ import annotations

from pathlib import Path

import typer

from anyback_nn.cli import options, ranks, run_folder
from anyback_nn.cli.printing import Printer
from anyback_nn.cli.run_data import divide_again
from anyback_nn.cli.run_folder import TrainingData, compute_fingerprints
from anyback_nn.cli.scores import compute_scores, show_scores
from anyback_nn.datasets import BUILT_IN, Encoding, Rows, TableOptions, read
from anyback_nn.utils.memory import limit_memory
from anyback_nn.utils.messages import plural

__all__ = ["evaluate"]


def evaluate(
    run: options.Run,
    data: options.Data,
    target: options.KnownTarget = None,
    part: options.Part = "auto",
    drop: options.KnownDrop = None,
    features: options.KnownFeatures = None,
    na_values: options.KnownNaValues = None,
    separator: options.KnownSeparator = None,
    decimal: options.KnownDecimal = None,
    text_encoding: options.KnownTextEncoding = None,
    memory_limit: options.MemoryLimit = None,
    backend: options.BackendSpec = None,
    distributed: options.Distributed = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the model of RUN on DATA with known targets.

    If the data come with a test part, as the built-in ones do, only that part is used. Of the file
    of training, --part test takes the rows that training had not seen.
    """
    arguments = dict(locals())
    ranks.join(distributed, data)
    device = ranks.choose_device(options.select_backend(backend))
    model, encoding = run_folder.load(run, device)
    table = options.table_options(arguments, encoding.options)
    training = TrainingData.read(run)
    with limit_memory(memory_limit):
        if training is not None and training.fingerprint not in compute_fingerprints(data):
            training = None
        rows, n_seen = choose_rows(
            run, data, encoding, training, target=target, part=part, table=table
        )
    scores = compute_scores(model, encoding, rows.x, rows.y)
    name = "test part" if rows.is_test_part else "all rows"

    printer = Printer(as_json=json, quiet=quiet)
    printer.notes(rows.notes)
    if n_seen:
        printer.notes([describe_seen(n_seen, len(rows.x))])
    show_scores(printer, f"{data}, {name}", encoding, scores)
    printer.end(
        {
            "backend": device.spec,
            "device": device.device_label,
            "dtype": model.dtype,
            "part": name,
            "rows": scores.n_rows,
            "seen_in_training": n_seen,
            **scores.to_json(),
        }
    )


def choose_rows(
    run: Path,
    data: str,
    encoding: Encoding,
    training: TrainingData | None,
    *,
    target: str | None,
    part: str,
    table: TableOptions,
) -> tuple[Rows, int | None]:
    """Read the rows to measure, and count those that training had seen, if that is known.

    ``training`` is None unless the model was trained with these data.
    """
    divides = part == "test" or (part == "auto" and data in BUILT_IN and target is None)
    if training is not None and divides:
        known = training.options["target"]
        if target not in (None, known):
            raise typer.BadParameter(
                f"the test part of {data} has the target of training, {known}: leave --target out",
                param_hint="'--part'",
            )
        if table != encoding.options:
            raise typer.BadParameter(
                f"the test part of {data} is read as in training: leave the options of tables out",
                param_hint="'--part'",
            )
        dataset = divide_again(run, data, encoding, training, ". Leave --part out")
        return Rows(dataset.x_test, dataset.y_test, (), is_test_part=True), 0
    rows = read(data, encoding, target=target, with_target=True, options=table)
    if part == "test" and not rows.is_test_part:
        raise typer.BadParameter(
            f"{data} has no test part that is known: it is not the file that {run} was trained "
            "with. Leave --part out to measure all rows",
            param_hint="'--part'",
        )
    if part == "all" and rows.is_test_part:
        raise typer.BadParameter(
            f"{data} comes with a test part, which alone is measured: leave --part out",
            param_hint="'--part'",
        )
    if training is None:
        return rows, None
    return rows, 0 if rows.is_test_part else training.train_rows


def describe_seen(n_seen: int, n_rows: int) -> str:
    """Return how many rows training had seen, in a sentence."""
    others = f"the other {n_rows - n_seen:,}" if n_rows > n_seen else "the test file"
    return (
        f"training had seen {n_seen:,} of these {plural(n_rows, 'row')}, which makes the scores "
        f"better than those of new rows: --part test measures {others}"
    )
