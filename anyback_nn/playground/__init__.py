"""A page in which the reader trains networks in the browser, with this library's own mathematics.

Nothing of a network is written again in JavaScript: the page runs ONNX graphs that the library's
own code was traced into (`anyback_nn.playground.graphs`), with the random numbers that the library
draws (`anyback_nn.playground.numbers`). So a script in Python reproduces each of its runs.
"""

from __future__ import annotations

from anyback_nn.playground.data import PlaneData, load_plane
from anyback_nn.playground.page import build_playground

__all__ = ["PlaneData", "build_playground", "load_plane"]
