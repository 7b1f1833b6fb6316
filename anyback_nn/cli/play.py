"""``anyback-nn play``: train networks in the browser."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path

from anyback_nn.cli import options, run_folder
from anyback_nn.cli.printing import Printer
from anyback_nn.pages import write_page
from anyback_nn.playground import build_playground, load_plane
from anyback_nn.playground.numbers import SHAPES

__all__ = ["play"]


def play(
    data: options.PlaneData = "moons",
    output: options.PageFile = None,
    target: options.Target = None,
    features: options.Features = None,
    open_page: options.Open = None,
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a page in which networks are trained in the browser, and open it.

    The page computes with this library's own training step. It needs no network, shows every unit,
    weight and equation, and writes the script in Python that reproduces what was trained.
    """
    printer = Printer(quiet=quiet, as_json=json)
    if output is not None:
        run_folder.check_file(output, force=force)
    # Only tables take a target and features, as reading them says.
    if data in SHAPES and target is None and features is None:
        page = build_playground(shape=data)
    else:
        columns = options.parse_columns(features) if features else None
        plane = load_plane(data, target=target, features=columns)
        printer.notes(plane.notes)
        page = build_playground(plane)
    path = output or Path(tempfile.mkdtemp(prefix="anyback-nn-"), "playground.html")
    write_page(page, path)

    opened = output is None if open_page is None else open_page
    if opened and not webbrowser.open(path.resolve().as_uri()):
        printer.notes([f"no browser was found: open {path} in one"])
    printer.end({"file": path}, written=path)
