"""Data to learn from: embedded digits, synthetic shapes, and readers of tables, NPZ and IDX."""

from anyback_nn.datasets.dataset import Dataset, Rows
from anyback_nn.datasets.digits import load_digits
from anyback_nn.datasets.encoding import Encoding, encoding_from_json
from anyback_nn.datasets.idx import read_idx
from anyback_nn.datasets.load import BUILT_IN, load, read
from anyback_nn.datasets.options import TableOptions
from anyback_nn.datasets.parquet import ParquetBatches, parquet_batches
from anyback_nn.datasets.synthetic import (
    make_blobs,
    make_circles,
    make_moons,
    make_spirals,
    make_xor,
)

__all__ = [
    "BUILT_IN",
    "Dataset",
    "Encoding",
    "ParquetBatches",
    "Rows",
    "TableOptions",
    "encoding_from_json",
    "load",
    "load_digits",
    "make_blobs",
    "make_circles",
    "make_moons",
    "make_spirals",
    "make_xor",
    "parquet_batches",
    "read",
    "read_idx",
]
