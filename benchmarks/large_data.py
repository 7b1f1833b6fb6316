"""Data larger than memory: files of 20 GB (.npy) and 2.5 GB (Parquet) train in less than 1 GB.

    python benchmarks/large_data.py --quick        # 2 GB and 250 MB

The .npy file is sparse, so it takes next to no space on the disk, but what is read of it passes
through memory like any other file. `Model.fit` gets it as ``numpy.load(path, mmap_mode="r")`` and
takes an epoch over all of it, in a new order. The Parquet file has a compressed column for each of
64 features, and is trained from by `nn.datasets.parquet_batches`, which goes through it once to
learn how to standardise it, and once an epoch.

What counts is RssAnon: the pages of a mapped file are the kernel's to drop, whatever else a process
has is not. It is read a hundred times a second, from outside, where no lock of the training process
can delay it.
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
PARQUET_SHARE = 1 / 8
"""How large the Parquet file is beside the other one: its values are really there."""


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
                # Far apart in the file, so that next to nothing of them can be compressed.
                (pl.col("row") * (2 * i + 1) % 1_000_003).cast(pl.Float32).alias(f"x{i}")
                for i in range(PARQUET_N_IN)
            ),
            (pl.col("row") % N_CLASSES).cast(pl.Int32).alias("y"),
        )
    )
    frame.sink_parquet(path, row_group_size=2**16)
    return n_rows


def train(kind: str, path: str, n_rows: int) -> dict[str, Any]:
    """Train an epoch in this process; give the seconds, also those of its parts, and the loss."""
    import ours

    import anyback_nn as nn

    class FirstBatch(nn.Callback):
        """Notes when the first batch is done."""

        seconds = 0.0

        def on_batch_end(self, fit: Any) -> None:
            self.seconds = self.seconds or time.perf_counter() - started

    first, before = FirstBatch(), status("RssAnon")
    began = time.perf_counter()
    if kind == "npy":
        x: Any = np.load(path, mmap_mode="r")
        y = np.random.default_rng(0).integers(N_CLASSES, size=n_rows, dtype=np.int32)
        model = ours.model((N_IN, 16, N_CLASSES))
    else:
        x, y = nn.datasets.parquet_batches(path, "y", batch_size=BATCH), None
        model = ours.model((PARQUET_N_IN, 16, N_CLASSES))
    started = time.perf_counter()
    model.fit(x, y, epochs=1, batch_size=BATCH, progress=False, callbacks=[first])
    return {
        "seconds": time.perf_counter() - started,
        "prepared": started - began,
        "first_batch": first.seconds,
        "before": before,
        "loss": model.history.last["train_loss"],
    }


def measure(kind: str, path: Path, n_rows: int) -> dict[str, Any]:
    """Train in another process and watch its memory."""
    with Child(__file__) as child:
        child.ask(do="nothing")
        with Watch(child.process.pid, ("RssAnon", "VmRSS")) as watch:
            found = child.ask(do="train", kind=kind, path=str(path), n_rows=n_rows)
        return found | {"peak": watch.peak, "samples": watch.samples, "rows": n_rows}


@contextlib.contextmanager
def room(needed: int) -> Iterator[Path]:
    """Give a folder for so many bytes, removed whatever happens, Ctrl-C and SIGTERM too."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with tempfile.TemporaryDirectory(prefix="large_data_") as folder:
            free = shutil.disk_usage(folder).free
            if free < needed:
                raise SystemExit(
                    f"{folder}: {free / GB:.1f} GB are free: expected {needed / GB:.1f}"
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
        return [f"{name} ({one})", *["-"] * (len(HEAD) - 1)]
    return [
        name,
        f"{one['rows']:,}",
        f"{one['size'] / GB:.1f}",
        f"{one['on_disk'] / MIB:,.1f}",
        f"{one['prepared']:.1f}",
        f"{one['first_batch']:.2f}",
        f"{one['seconds']:.1f}",
        f"{one['before'] / MIB:,.0f}",
        f"{one['peak']['RssAnon'] / MIB:,.0f}",
        f"{one['peak']['VmRSS'] / MIB:,.0f}",
        "yes" if one["peak"]["RssAnon"] < LIMIT else "NO",
    ]


HEAD = ["", "rows", "GB of floats", "MiB on disk", "s, before", "s, first batch", "s, epoch"]
HEAD += ["RssAnon before", "RssAnon, peak", "VmRSS, peak", "below 1 GB"]


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--gigabytes", type=float, default=0.0, help="of the file; default: 20, or 2")
    options = cli.parse_args()
    size = round((options.gigabytes or (2 if options.quick else 20)) * GB)
    results: dict[str, Any] = {}
    parquet_size = round(size * PARQUET_SHARE)
    # Some more than that, for file systems that fill holes in part.
    with room(parquet_size + GB // 2) as folder:
        kinds = {"npy": (make_npy, size)}
        if importlib.util.find_spec("polars"):
            kinds["parquet"] = (make_parquet, parquet_size)
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
    names = {"npy": "memory-mapped .npy", "parquet": "Parquet"}
    publish(
        options,
        [
            "# Data larger than memory",
            preamble(options, __file__, named),
            f"An epoch of {N_IN}-16-{N_CLASSES} (Parquet: {PARQUET_N_IN}-16-{N_CLASSES}) with "
            f"shuffled batches of {BATCH:,}; MiB of memory. Before it, the labels of the .npy file "
            "are drawn, and the encoding of the Parquet file is learned.",
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
