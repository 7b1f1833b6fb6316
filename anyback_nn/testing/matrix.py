"""The rows of the test matrix; like the table of libraries, it needs the standard library alone."""

from __future__ import annotations

__all__ = ["MATRIX"]

MATRIX: tuple[str, ...] = (
    "numpy",
    "numpy:readonly",
    "array-api-strict",
    "array-api-strict:device1",
    "array-api-strict:no_float64",
    "array-api-strict:strictest",
    "torch",
    "jax",
    "jax:eager",
    "dask",
    "cupy",
    "dpnp",
    "ndonnx",
)
"""The specs to test with, each of which finds mistakes that the others do not."""
