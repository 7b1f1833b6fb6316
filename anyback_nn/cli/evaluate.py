"""``anyback-nn evaluate``: measure a trained model on data."""

from __future__ import annotations

from anyback_nn.cli import options

__all__ = ["evaluate"]


def evaluate(
    run: options.Run,
    data: options.Data,
    target: options.Answers = None,
    backend: options.BackendSpec = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the model of RUN on DATA whose answers are known.

    Of data that come with a test part, such as the built-in ones, that part; else all rows.
    """
    selected = options.selected(backend)

    from anyback_nn.cli.measure import measure
    from anyback_nn.cli.report import Report
    from anyback_nn.cli.run import load
    from anyback_nn.datasets import read

    model, encoding = load(run, selected)
    rows = read(data, encoding, target=target, with_target=True)
    measured = measure(model, encoding, rows.x, rows.y)
    part = "test part" if rows.is_test_part else "all rows"

    report = Report(as_json=json, quiet=quiet)
    report.notes(rows.notes)
    report.scores(f"{data}, {part}", encoding, measured)
    report.end(
        {
            "backend": selected.spec,
            "device": str(selected.device),
            "dtype": model.dtype,
            "part": part,
            "rows": measured.n_rows,
            **measured.scores,
        }
    )
