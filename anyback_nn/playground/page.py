"""The page as one file: runtime, graphs, numbers, and the scripts that show them."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np

import anyback_nn
from anyback_nn.explain.page import read_scripts
from anyback_nn.pages import build_page, read_asset
from anyback_nn.playground import runtime
from anyback_nn.playground.data import PlaneData
from anyback_nn.playground.equations import describe_equations
from anyback_nn.playground.graphs import STORED
from anyback_nn.playground.numbers import SHAPES, draw_shapes, draw_weights, get_noise
from anyback_nn.playground.settings import (
    ACTIVATIONS,
    BATCH_SIZE,
    MAX_DEPTH,
    MAX_WIDTH,
    N_SEEDS,
    OPTIMIZERS,
)

__all__ = ["build_playground"]

_SCRIPTS = (
    "bytes.js",
    "runtime.js",
    "data.js",
    "training.js",
    "drawing.js",
    "diagram.js",
    "python.js",
    "controls.js",
    "view.js",
    "panel.js",
    "playground.js",
    "start.js",
)
"""In the order in which they are concatenated: as one script, they see each other's names."""

_WIDTHS = {"spirals": [8, 8]}
"""The units of hidden layers to begin with, where more are needed than can be followed by hand."""

_SOURCES = "blob: 'wasm-unsafe-eval'"
"""The runtime is a module, which a page from disk imports from a blob, and WebAssembly."""


def build_playground(data: PlaneData | None = None, shape: str = "moons") -> str:
    """Build the page, in which the reader trains networks on points in the plane.

    Parameters
    ----------
    data : PlaneData, optional
        A table that the page begins with. Default: one of the shapes.
    shape : str
        The shape that it begins with otherwise: ``"moons"``, ``"spirals"``, ``"circles"``,
        ``"xor"`` or ``"blobs"``.

    Returns
    -------
    str
        HTML of 5 MB, which opens from disk and requests nothing.

    Examples
    --------
    >>> page = build_playground(shape="circles")
    >>> "onnxruntime" in page, len(page) < 8_000_000
    (True, True)
    """
    if shape not in SHAPES:
        raise ValueError(f"expected a shape out of {', '.join(SHAPES)}, got {shape!r}")
    graphs = (files(__package__) / STORED).read_bytes()
    stored = {
        **{part: _encode(runtime.read(part)) for part in ("module", "wasm", "notices")},
        "runtime": runtime.describe(),
        "license": runtime.read_license(),
        "graphs": _encode(graphs),
        "equations": _encode(gzip.compress(json.dumps(describe_equations()).encode(), mtime=0)),
        "version": anyback_nn.__version__,
        "activations": [*ACTIVATIONS],
        "optimizers": {
            name: {**asdict(rule), "slots": rule.slots} for name, rule in OPTIMIZERS.items()
        },
        "maxDepth": MAX_DEPTH,
        "maxWidth": MAX_WIDTH,
        "batchSize": BATCH_SIZE,
        "nSeeds": N_SEEDS,
        "weights": _encode(draw_weights()),
        "shapes": {
            name: {"x": _encode(x), "y": y.tolist(), "noise": get_noise(name)}
            for name, (x, y) in draw_shapes().items()
        },
        "shape": shape,
        "widths": _WIDTHS.get(shape, [4]) if data is None else [4],
        "own": None if data is None else _describe(data),
    }
    return build_page(
        "Playground of anyback_nn",
        _read("page.html"),
        data=stored,
        styles=[read_asset("explanation.css"), _read("style.css")],
        scripts=[read_scripts(), "\n".join(map(_read, _SCRIPTS))],
        script_sources=_SOURCES,
    )


def _describe(data: PlaneData) -> dict[str, Any]:
    """Return a table as the page reads it."""
    return {
        "name": data.name,
        "columns": data.columns,
        "classes": data.classes,
        "x": _encode(data.x),
        "y": data.y.tolist(),
        "nTrain": data.n_train,
    }


def _encode(content: bytes | np.ndarray) -> str:
    """Encode bytes, or the little-endian bytes of numbers, as text."""
    if isinstance(content, np.ndarray):
        content = content.astype(content.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(content).decode()


def _read(name: str) -> str:
    """Read a file of the page."""
    return (files(__package__) / "web" / name).read_text(encoding="utf-8")
