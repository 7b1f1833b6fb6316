"""Data larger than memory: files of 20 GB (.npy) and 2.5 GB (Parquet) train in less than 1 GB.

    python -m benchmarks large_data --quick        # 2 GB and 250 MB

The .npy file is sparse, so it takes next to no space on the disk, but what is read of it passes
through memory like any other file. `Model.fit` gets it as ``numpy.load(path, mmap_mode="r")`` and
takes an epoch over all of it, in a new order. The Parquet file has a compressed column for each of
64 features; `nn.datasets.parquet_batches` goes through it once to learn how to standardise it, and
once an epoch.

RssAnon counts: the pages of a mapped file are the kernel's to drop, all other memory of a process
is not. It is read a hundred times a second, from outside, where no lock of the training process can
delay it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.memory import MIB, read_status
from benchmarks.harness.process import Worker, WorkerError, serve
from benchmarks.harness.report import format_results, make_parser, publish
from benchmarks.peers.ours import make_model
from benchmarks.peers.workloads import Workload

GB = 10**9
LIMIT = 1 * GB
BATCH, N_CLASSES = 8192, 10
WORKLOADS = {
    "npy": Workload("memory-mapped .npy", (784, 16, N_CLASSES), BATCH),
    "parquet": Workload("Parquet", (64, 16, N_CLASSES), BATCH),
}
PARQUET_SHARE = 1 / 8
"""The size of the Parquet file relative to the other one: its values are really on the disk."""


def write_npy(path: Path, n_rows: int, n_in: int) -> None:
    """Write a sparse file, with a few values that are not 0 at both ends."""
    data = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_in))
    rng = np.random.default_rng(0)
    data[:64] = rng.random((64, n_in), np.float32)
    data[-64:] = rng.random((64, n_in), np.float32)
    data.flush()


def write_parquet(path: Path, n_rows: int, n_in: int) -> None:
    """Write features and labels, of which next to nothing can be compressed."""
    import polars as pl

    row = pl.col("row")
    features = [
        (row * (2 * i + 1) % 1_000_003).cast(pl.Float32).alias(f"x{i}") for i in range(n_in)
    ]
    frame = pl.select(row=pl.int_range(n_rows)).lazy()
    frame = frame.select(*features, (row % N_CLASSES).cast(pl.Int32).alias("y"))
    frame.sink_parquet(path, row_group_size=2**16)


def train(kind: str, path: str, n_rows: int) -> dict[str, Any]:
    """Train an epoch in this process; return seconds, memory before it, and the loss."""
    import anyback_nn as nn

    class FirstBatch(nn.Callback):
        """Measures when the first batch is done."""

        seconds = 0.0

        def on_batch_end(self, fit: Any) -> None:
            self.seconds = self.seconds or time.perf_counter() - started

    first, before = FirstBatch(), read_status("RssAnon")
    prepared = time.perf_counter()
    if kind == "npy":
        x: Any = np.load(path, mmap_mode="r")
        y = np.random.default_rng(0).integers(N_CLASSES, size=n_rows, dtype=np.int32)
    else:
        x, y = nn.datasets.parquet_batches(path, "y", batch_size=BATCH), None
    model = make_model(WORKLOADS[kind])
    started = time.perf_counter()
    model.fit(x, y, epochs=1, batch_size=BATCH, progress=False, callbacks=[first])
    return {
        "seconds": time.perf_counter() - started,
        "prepared": started - prepared,
        "first_batch": first.seconds,
        "before": before,
        "loss": model.history.last["train_loss"],
    }


def measure(kind: str, path: Path, n_rows: int) -> dict[str, Any]:
    """Train in another process and read its memory until it answers."""
    peak = {"RssAnon": 0, "VmRSS": 0}
    with Worker("large_data") as worker:
        worker.send(kind=kind, path=str(path), n_rows=n_rows)
        while not select.select([worker.process.stdout], [], [], 0.01)[0]:
            with contextlib.suppress(OSError, ValueError):  # the process has ended
                for name, so_far in peak.items():
                    peak[name] = max(so_far, read_status(name, worker.process.pid))
        return worker.receive() | {"peak": peak, "rows": n_rows}


def run_worker() -> None:
    """Train in this process, as another one requests it."""
    serve(train)


HEAD = ["", "rows", "GB of floats", "MiB on disk", "s, before", "s, first batch", "s, epoch"]
HEAD += ["RssAnon before", "RssAnon, peak", "VmRSS, peak", "below 1 GB"]


def format_cells(result: dict[str, Any]) -> list[str]:
    """Format the cells of a file."""
    peak = result["peak"]
    return [
        f"{result['rows']:,}",
        f"{result['size'] / GB:.1f}",
        f"{result['on_disk'] / MIB:,.1f}",
        f"{result['prepared']:.1f}",
        f"{result['first_batch']:.2f}",
        f"{result['seconds']:.1f}",
        *(f"{size / MIB:,.0f}" for size in (result["before"], peak["RssAnon"], peak["VmRSS"])),
        "yes" if peak["RssAnon"] < LIMIT else "NO",
    ]


def main(arguments: list[str]) -> None:
    """Measure, print, and write the report if asked to; the exit status is 1 above the limit."""
    parser = make_parser(__doc__, "large_data")
    parser.add_argument(
        "--gigabytes", type=float, default=0.0, help="of the .npy file; default: 20"
    )
    options = parser.parse_args(arguments)
    size = round((options.gigabytes or (2 if options.quick else 20)) * GB)
    files = {"npy": (write_npy, size)}
    if importlib.util.find_spec("polars"):
        files["parquet"] = (write_parquet, round(size * PARQUET_SHARE))
    # The folder is removed on SIGTERM, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="large_data_") as folder:
        # Some more than the Parquet file, for file systems that fill holes in part.
        needed, free = size * PARQUET_SHARE + GB / 2, shutil.disk_usage(folder).free
        if free < needed:
            sys.exit(f"{folder}: {free / GB:.1f} GB are free: expected {needed / GB:.1f}")
        for kind, (write_file, n_bytes) in files.items():
            path, n_in = Path(folder, f"data.{kind}"), WORKLOADS[kind].sizes[0]
            n_rows = n_bytes // (n_in * 4)
            write_file(path, n_rows, n_in)
            try:
                result = measure(kind, path, n_rows)
                results[WORKLOADS[kind].data] = result | {
                    "size": n_bytes,
                    "on_disk": path.stat().st_blocks * 512,
                }
            except WorkerError as error:
                results[WORKLOADS[kind].data] = str(error)
            path.unlink()
    paragraphs = [
        f"An epoch of 784-16-10 (Parquet: 64-16-10) with shuffled batches of {BATCH:,}; MiB of "
        "memory. Before it, the labels of the .npy file are drawn, and the encoding of the Parquet "
        "file is learned.",
        format_results(HEAD, results, format_cells),
    ]
    title, packages = "Data larger than memory", ("numpy", "anyback_nn", "polars")
    publish(options, __file__, title, packages, paragraphs, results=results)
    if any(isinstance(one, str) or one["peak"]["RssAnon"] >= LIMIT for one in results.values()):
        sys.exit("more than 1 GB, or it could not be measured")
