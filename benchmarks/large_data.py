"""Data larger than memory: a memory-mapped file of 20 GB trains in less than 1 GB.

    python benchmarks/large_data.py --quick        # 2 GB

The file is sparse, so it takes next to no space on the disk, but what is read of it passes through
memory like any other file. `Model.fit` gets it as ``numpy.load(path, mmap_mode="r")`` and takes an
epoch over all of it, in a new order. What counts is RssAnon: the pages of a mapped file are the
kernel's to drop, whatever else a process has is not. It is read a hundred times a second, from
outside, where no lock of the training process can delay it.

Parquet: `nn.datasets.load` reads such a file as a whole, so it is not for data larger than memory.
An iterable of batches is, with polars or anything else that reads parts of a file; that is measured
on a smaller file, with a compressed column for each of 64 features.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from children import Child, ChildError, is_child, serve
from process_memory import MIB, Watch, status
from report import parser, preamble, publish, table, versions

GB = 10**9
LIMIT = 1 * GB
N_IN, N_CLASSES, BATCH = 784, 10, 8192
PARQUET_N_IN = 64
NEEDED_ON_DISK = GB // 2
"""Free bytes, for file systems that fill holes in part."""


def make_npy(path: Path, n_bytes: int) -> int:
    """Make a sparse file of about so many bytes; give its number of rows."""
    n_rows = n_bytes // (N_IN * 4)
    data = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, N_IN))
    # A few values that are not 0, at both ends.
    rng = np.random.default_rng(0)
    data[:64] = rng.random((64, N_IN), np.float32)
    data[-64:] = rng.random((64, N_IN), np.float32)
    data.flush()
    return n_rows


def make_parquet(path: Path, n_bytes: int) -> int:
    """Make a Parquet file that holds about so many bytes of float32; give its number of rows."""
    import polars as pl

    n_rows = n_bytes // (PARQUET_N_IN * 4)
    frame = (
        pl.select(row=pl.int_range(n_rows))
        .lazy()
        .select(
            *(
                ((pl.col("row") + i) % 251).cast(pl.Float32).alias(f"x{i}")
                for i in range(PARQUET_N_IN)
            ),
            (pl.col("row") % N_CLASSES).cast(pl.Int32).alias("y"),
        )
    )
    frame.sink_parquet(path, row_group_size=2**16)
    return n_rows


class ParquetBatches:
    """The batches of a Parquet file, in its order, a stretch of it in memory at a time.

    Parameters
    ----------
    path : str
    n_rows : int
    """

    def __init__(self, path: str, n_rows: int) -> None:
        self.path, self.n_rows = path, n_rows

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        import polars as pl

        for start in range(0, self.n_rows, BATCH):
            frame = pl.scan_parquet(self.path).slice(start, BATCH).collect()
            yield frame.drop("y").to_numpy(), frame["y"].to_numpy()


def train(kind: str, path: str, n_rows: int) -> dict[str, Any]:
    """Train an epoch in this process; give the seconds and the loss."""
    import ours

    if kind == "npy":
        x: Any = np.load(path, mmap_mode="r")
        y = np.random.default_rng(0).integers(N_CLASSES, size=n_rows, dtype=np.int32)
        model = ours.model((N_IN, 16, N_CLASSES))
    else:
        x, y = ParquetBatches(path, n_rows), None
        model = ours.model((PARQUET_N_IN, 16, N_CLASSES))
    before = status("RssAnon")
    started = time.perf_counter()
    model.fit(x, y, epochs=1, batch_size=BATCH, progress=False)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "before": before, "loss": model.history.last["train_loss"]}


def measure(kind: str, path: Path, n_rows: int) -> dict[str, Any]:
    """Train in another process and watch its memory."""
    with Child(__file__) as child:
        child.ask(do="nothing")
        with Watch(child.process.pid, ("RssAnon", "VmRSS")) as watch:
            found = child.ask(do="train", kind=kind, path=str(path), n_rows=n_rows)
        return found | {"peak": watch.peak, "samples": watch.samples, "rows": n_rows}


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """Give a folder for large files that is removed whatever happens, Ctrl-C and SIGTERM too."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with tempfile.TemporaryDirectory(prefix="large_data_") as folder:
            free = shutil.disk_usage(folder).free
            if free < NEEDED_ON_DISK:
                raise SystemExit(
                    f"{folder}: {free / GB:.1f} GB are free: expected {NEEDED_ON_DISK / GB}"
                )
            yield Path(folder)
    finally:
        signal.signal(signal.SIGTERM, before)


def on_disk(path: Path) -> int:
    """Tell how many bytes a file takes on the disk."""
    return path.stat().st_blocks * 512


def row(name: str, one: Any) -> list[str]:
    """Write a row of the table."""
    if isinstance(one, str):
        return [f"{name} ({one})", *["-"] * 8]
    return [
        name,
        f"{one['rows']:,}",
        f"{one['size'] / GB:.1f}",
        f"{one['on_disk'] / MIB:,.1f}",
        f"{one['seconds']:.1f}",
        f"{one['before'] / MIB:,.0f}",
        f"{one['peak']['RssAnon'] / MIB:,.0f}",
        f"{one['peak']['VmRSS'] / MIB:,.0f}",
        "yes" if one["peak"]["RssAnon"] < LIMIT else "NO",
    ]


HEAD = ["", "rows", "GB of floats", "MiB on disk", "seconds", "RssAnon before", "RssAnon, peak"]
HEAD += ["VmRSS, peak", "below 1 GB"]


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--gigabytes", type=float, default=0.0, help="of the file; default: 20, or 2")
    options = cli.parse_args()
    size = round((options.gigabytes or (2 if options.quick else 20)) * GB)
    results: dict[str, Any] = {}
    with room() as folder:
        kinds = {"npy": (make_npy, size)}
        if importlib.util.find_spec("polars"):
            kinds["parquet"] = (make_parquet, size // 10)
        for kind, (make, n_bytes) in kinds.items():
            path = folder / f"data.{kind}"
            n_rows = make(path, n_bytes)
            try:
                results[kind] = measure(kind, path, n_rows)
            except ChildError as error:
                results[kind] = str(error)
            else:
                results[kind] |= {"size": n_bytes, "on_disk": on_disk(path)}
            path.unlink()
    named = versions(("numpy", "anyback_nn", "polars"))
    names = {"npy": "memory-mapped .npy", "parquet": "Parquet, an iterable of batches"}
    publish(
        options,
        [
            "# Data larger than memory",
            preamble(options, __file__, named),
            f"An epoch of {N_IN}-16-{N_CLASSES} (Parquet: {PARQUET_N_IN}-16-{N_CLASSES}) with "
            f"batches of {BATCH:,}; MiB of memory. `nn.datasets.load` reads a Parquet file as a "
            "whole: for more than fits into memory, pass `fit` an iterable, as here.",
            table(HEAD, [row(names[kind], one) for kind, one in results.items()]),
        ],
        {"versions": named, "results": results},
    )
    if any(isinstance(one, str) or one["peak"]["RssAnon"] >= LIMIT for one in results.values()):
        sys.exit("more than 1 GB, or it could not be measured")


def answer(do: str, **asked: Any) -> Any:
    """Do in this process what another one asks for."""
    return train(**asked) if do == "train" else None


if __name__ == "__main__":
    if is_child():
        serve(answer)
    else:
        main()
