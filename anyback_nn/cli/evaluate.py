"""``anyback-nn evaluate``: the scores of a trained model on data."""

from __future__ import annotations

from anyback_nn.cli import options, run_folder
from anyback_nn.cli.printing import Printer
from anyback_nn.cli.scores import compute_scores, show_scores
from anyback_nn.datasets import read

__all__ = ["evaluate"]


def evaluate(
    run: options.Run,
    data: options.Data,
    target: options.KnownTarget = None,
    drop: options.KnownDrop = None,
    features: options.KnownFeatures = None,
    na_values: options.KnownNaValues = None,
    separator: options.KnownSeparator = None,
    decimal: options.KnownDecimal = None,
    text_encoding: options.KnownTextEncoding = None,
    backend: options.BackendSpec = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the model of RUN on DATA with known targets.

    If the data come with a test part, as the built-in ones do, only that part is used.
    """
    arguments = dict(locals())
    device = options.select_backend(backend)
    model, encoding = run_folder.load(run, device)
    table = options.table_options(arguments, encoding.options)
    rows = read(data, encoding, target=target, with_target=True, options=table)
    scores = compute_scores(model, encoding, rows.x, rows.y)
    part = "test part" if rows.is_test_part else "all rows"

    printer = Printer(as_json=json, quiet=quiet)
    printer.notes(rows.notes)
    show_scores(printer, f"{data}, {part}", encoding, scores)
    printer.end(
        {
            "backend": device.spec,
            "device": device.device_label,
            "dtype": model.dtype,
            "part": part,
            "rows": scores.n_rows,
            **scores.values,
        }
    )
