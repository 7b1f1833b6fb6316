"""Renew what is stored for the page: ``python -m anyback_nn.playground.refresh PACKAGE``.

The package is the file of ``npm pack``. It needs the extra ``onnx``.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from anyback_nn.playground import runtime
from anyback_nn.playground.graphs import STORED, list_graphs, pack_graphs

__all__ = ["refresh_graphs", "refresh_runtime"]


def refresh_runtime(package: Path) -> None:
    """Keep the runtime of npm's package, with the licences of the Python package."""
    import onnxruntime

    runtime.unpack(package.read_bytes(), Path(onnxruntime.__file__).parent)


def refresh_graphs() -> None:
    """Trace all graphs."""
    graphs = {name: trace().SerializeToString() for name, trace in list_graphs().items()}
    Path(str(files(__package__) / STORED)).write_bytes(pack_graphs(graphs))


if __name__ == "__main__":
    refresh_runtime(Path(sys.argv[1]))
    refresh_graphs()
