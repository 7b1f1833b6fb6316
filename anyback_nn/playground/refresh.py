"""Renew what is stored for the page: ``python -m anyback_nn.playground.refresh``.

It needs the extra ``onnx``, and npm's registry.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from urllib.request import urlopen

from anyback_nn.playground import runtime
from anyback_nn.playground.graphs import STORED, list_graphs, pack_graphs

__all__ = ["refresh_graphs", "refresh_runtime"]


def refresh_runtime() -> None:
    """Fetch onnxruntime-web from npm."""
    import onnxruntime

    name, version = (runtime.describe()[key] for key in ("package", "version"))
    with urlopen(f"https://registry.npmjs.org/{name}/-/{name}-{version}.tgz") as response:
        runtime.unpack(response.read(), Path(onnxruntime.__file__).parent)


def refresh_graphs() -> None:
    """Trace all graphs."""
    graphs = {name: trace().SerializeToString() for name, trace in list_graphs().items()}
    Path(str(files(__package__) / STORED)).write_bytes(pack_graphs(graphs))


if __name__ == "__main__":
    refresh_runtime()
    refresh_graphs()
