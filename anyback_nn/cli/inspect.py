"""``anyback-nn inspect``: what is in a saved model or run, without a backend but NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from anyback_nn.cli import options, run_folder
from anyback_nn.cli.printing import Printer, create_label, create_table
from anyback_nn.datasets import encoding_from_json
from anyback_nn.errors import AnybackError
from anyback_nn.training import checkpoint
from anyback_nn.training.resume import read_latest
from anyback_nn.utils.messages import plural, quoted_list

__all__ = ["inspect"]

_MOST_LETTERS = 1000
"""Of a value of a model file, which may have any length."""


def inspect(run: options.Run, json: options.Json = False) -> None:
    """Show what is in RUN: network, settings, history and data.

    Nothing is computed, and classes of your own need not be defined.
    """
    printer = Printer(as_json=json)
    path = run_folder.find_latest(run)
    if run.is_dir() and path.name != run_folder.MODEL:
        path, arrays, settings = read_latest(path.parent, lambda text: printer.notes([text]))
    else:
        arrays, settings = checkpoint.read(path)
    with checkpoint.name_file(path):
        layers = [*describe_layers(arrays, settings)]
        about = describe_model(settings) | describe_data(settings.get("encoding"))
        about |= describe_history(settings["history"]) | describe_progress(settings.get("fit"))
    about |= run_folder.describe(run)

    printer.show(f"{path}\n")
    table = create_table("layer", "arrays", "parameters", numeric=["parameters"])
    for layer in layers:
        shapes = (f"{name} {tuple(shape)}" for name, shape in layer["arrays"].items())
        count = f"{layer['parameters']:,}" if layer["parameters"] else ""
        cells = (layer["layer"], ", ".join(shapes))
        table.add_row(*(create_label(cell, n_letters=_MOST_LETTERS) for cell in cells), count)
    table.add_section()
    table.add_row("total", "", f"{sum(layer['parameters'] for layer in layers):,}", style="bold")
    printer.show(table)
    printer.show("")
    table = create_table("", "")
    for name, value in about.items():
        table.add_row(name, create_label(str(value), n_letters=_MOST_LETTERS))
    printer.show(table)
    printer.end({"file": path, "layers": layers, **about})


def describe_layers(
    arrays: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Describe each layer, with the shapes of its parameters."""
    for index, layer in enumerate(settings["network"]["settings"]["layers"]):
        start = f"parameters.{index}."
        shapes = {
            name.removeprefix(start): list(array.shape)
            for name, array in arrays.items()
            if name.startswith(start)
        }
        count = sum(math.prod(shape) for shape in shapes.values())
        yield {"layer": write_part(layer), "arrays": shapes, "parameters": count}


def write_part(part: Any) -> str:
    """Write a layer, loss, optimiser or schedule as an expression, less what is not set.

    >>> write_part({"kind": "Dense", "settings": {"n_out": 3, "initializer": None}})
    'Dense(n_out=3)'
    """
    if isinstance(part, Mapping):
        values = part["settings"].items()
        written = (f"{name}={write_part(value)}" for name, value in values if value is not None)
        return f"{part['kind']}({', '.join(written)})"
    return f"[{', '.join(map(write_part, part))}]" if isinstance(part, list) else repr(part)


def describe_model(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a model but for its layers."""
    estimator = settings.get("estimator")
    return {
        **({"estimator": estimator["kind"]} if estimator else {}),
        "loss": write_part(settings["loss"]),
        "optimizer": write_part(settings["optimizer"]),
        "inputs": settings["n_in"],
        "dtype": settings["dtype"],
        **({"compute dtype": name} if (name := settings.get("compute_dtype")) else {}),
        "seed": settings["seed"],
        "written by": ", ".join(
            f"{name} {version}" for name, version in settings.get("written_by", {}).items()
        ),
        "steps": settings["step"],
        "epochs": settings["epoch"],
    }


def describe_history(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Describe the last epoch."""
    if not rows:
        return {}
    measured = (f"{name} {value:.4g}" for name, value in rows[-1].items() if name != "epoch")
    return {"last epoch": ", ".join(measured)}


def describe_progress(progress: Any) -> dict[str, Any]:
    """Describe what a checkpoint knows in addition to a model."""
    if progress is None:
        return {}
    n_epochs, n_steps = progress["epochs_done"], progress["batches"]
    arguments = progress["arguments"]
    kinds = [state["kind"] for state in progress["callbacks"]]
    named = (f"{name} {arguments[name]}" for name in ("batch_size", "shuffle", "validation"))
    return {
        "checkpoint": f"{plural(n_epochs, 'epoch')} done"
        + (f", and {plural(n_steps, 'step')} of the next" if n_steps else "")
        + (f"; stopped: {reason}" if (reason := progress["stop_reason"]) else ""),
        "fit": ", ".join(named) if arguments else "",
        "callbacks": ", ".join(kinds),
        "data": arguments.get("data"),
    }


def describe_data(encoding: Any) -> dict[str, Any]:
    """Describe the data that a model knows, if it knows any."""
    try:
        known = encoding_from_json(encoding)
    except (AnybackError, TypeError, AttributeError):  # of a program of the user's
        return {} if encoding is None else {"encoding": "of another program"}
    names = getattr(known.features, "names", ())
    columns = f" of the columns {quoted_list(names)}" if names else ""
    target = f"one of {quoted_list(known.classes)}" if known.classes else "continuous"
    name = f"{known.target.name!r}, " if getattr(known.target, "name", None) else ""
    return {
        "features": f"{plural(known.n_features, 'feature')}{columns}",
        "target": f"{name}{target}",
    }
