"""Memory and first moments: peaks in training, loading 60,000 images, time to the first step.

    python benchmarks/memory.py --quick

- Peak memory: each system of `peers/systems.py` trains 784-256-128-10 on Fashion-MNIST in a process
  of its own. The data come from a file that all read alike; the kernel tells what was in memory
  when the system was imported, when the data were there, and the most that ever was.
- Loading: `nn.datasets.load` of the folder, against what is the least: the same files unpacked and
  viewed by `numpy.frombuffer`, with and without the numbers in float32 that a network needs.
- Time to the first step: from the start of Python to the end of a first `fit` of one batch, on each
  backend, in its parts.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from children import Child, ChildError, is_child, run, serve
from peers.systems import FLOOR, SYSTEMS, for_epochs
from peers.work import FASHION, Work, read, write
from process_memory import MIB, status, touch
from report import parser, preamble, publish, table, versions
from turns import in_turns

SIZES, BATCH = (784, 256, 128, 10), 128
WORK = Work("fashion", SIZES, BATCH)
NETWORK = "-".join(map(str, SIZES))
BACKENDS = ("numpy", "torch", "jax", "array-api-strict")
FILES = {
    "x_train": ("train-images-idx3-ubyte", 16),
    "y_train": ("train-labels-idx1-ubyte", 8),
    "x_test": ("t10k-images-idx3-ubyte", 16),
    "y_test": ("t10k-labels-idx1-ubyte", 8),
}
"""The files of the data set, and how long the header of each is."""


# Peak memory in training -------------------------------------------------------------------------


def train(name: str, folder: str, samples: int, epochs: int) -> dict[str, float]:
    """Train one system in this process; give what was in memory, in bytes."""
    kind = SYSTEMS[name]
    # Once with next to nothing, for what is imported and compiled.
    kind(
        WORK, np.zeros((2 * BATCH, SIZES[0]), np.float32), np.arange(2 * BATCH, dtype=np.int32) % 10
    )
    found = {"imported": float(status("VmRSS"))}
    data = read(WORK, samples, Path(folder))
    found["data"] = float(status("VmRSS"))
    kind(WORK, *data).train(for_epochs(epochs))
    found["peak"] = float(status("VmHWM"))
    return found


def peaks(names: list[str], samples: int, epochs: int) -> dict[str, Any]:
    """Train all systems, one after another."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write(WORK, samples, Path(folder))
        asked = {"folder": folder, "samples": samples, "epochs": epochs}
        for name in names:
            with Child(__file__) as child:
                try:
                    found[name] = child.ask(do="train", name=name, **asked)
                except ChildError as error:
                    found[name] = str(error)
    return found


def peak_rows(found: dict[str, Any]) -> list[list[str]]:
    """Write a row for each system."""
    rows = []
    for name, one in found.items():
        if isinstance(one, str):
            rows.append([f"{name} ({one})", "-", "-", "-", "-"])
            continue
        values = (one["imported"], one["data"], one["peak"], one["peak"] - one["data"])
        rows.append([name, *(f"{value / MIB:,.0f}" for value in values)])
    return rows


# Loading -----------------------------------------------------------------------------------------


def write_images(folder: Path) -> None:
    """Write files of the shape of Fashion-MNIST, of noise, where it is not installed."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        for content, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            axes = len(shape)
            head = bytes([0, 0, 8, axes]) + np.asarray(shape, ">u4").tobytes()
            values = rng.integers(256 if axes == 3 else 10, size=shape, dtype=np.uint8)
            file = folder / f"{part}-{content}-ubyte.gz"
            file.write_bytes(gzip.compress(head + values.tobytes(), 1))


def unpack(folder: Path, target: Path) -> None:
    """Write the files without compression."""
    for name, _ in FILES.values():
        (target / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))


def load_ours(folder: Path, unpacked: Path) -> Any:
    """Load by `nn.datasets.load`."""
    import anyback_nn as nn

    return nn.datasets.load(folder)


def load_ours_unpacked(folder: Path, unpacked: Path) -> Any:
    """Load the unpacked files by `nn.datasets.load`."""
    return load_ours(unpacked, unpacked)


def view_packed(folder: Path, unpacked: Path) -> Any:
    """Unpack in memory and view the bytes, without a check."""
    return [
        np.frombuffer(gzip.decompress((folder / f"{name}.gz").read_bytes()), np.uint8, offset=head)
        for name, head in FILES.values()
    ]


def cast_packed(folder: Path, unpacked: Path) -> Any:
    """Unpack in memory, and divide in float32: what `nn.datasets.load` has to do, at the least."""
    return [_cast(one) for one in view_packed(folder, unpacked)]


def view_unpacked(folder: Path, unpacked: Path) -> Any:
    """Read the unpacked files and view their bytes."""
    return [
        np.frombuffer((unpacked / name).read_bytes(), np.uint8, offset=head)
        for name, head in FILES.values()
    ]


def cast_unpacked(folder: Path, unpacked: Path) -> Any:
    """Read the unpacked files, and divide in float32."""
    return [_cast(one) for one in view_unpacked(folder, unpacked)]


def _cast(values: Any) -> Any:
    """Scale the bytes of images, but leave labels whole."""
    if values.size % 784:
        return values.astype(np.int32)
    return np.divide(values.reshape(-1, 784), np.float32(255), dtype=np.float32)


LOADERS: dict[str, Callable[[Path, Path], Any]] = {
    "nn.datasets.load": load_ours,
    "gzip, numpy.frombuffer, float32": cast_packed,
    "gzip, numpy.frombuffer, bytes": view_packed,
    "nn.datasets.load, unpacked files": load_ours_unpacked,
    "numpy.frombuffer, unpacked files, float32": cast_unpacked,
    "numpy.frombuffer, unpacked files, bytes": view_unpacked,
}


def load(name: str, folder: str, unpacked: str) -> dict[str, float]:
    """Load in one way in this process; give the seconds and by how much the peak rose, in bytes."""
    import anyback_nn as nn

    nn.datasets.load("xor")  # what is imported is not what is measured
    before = status("VmHWM")
    started = time.perf_counter()
    kept = LOADERS[name](Path(folder), Path(unpacked))
    seconds = time.perf_counter() - started
    peak = status("VmHWM") - before
    del kept
    return {"seconds": seconds, "peak": float(peak)}


def loading(repeats: int, warm_up: int) -> dict[str, Any]:
    """Load in each way when it is its turn, each time in a new process."""
    found: dict[str, Any] = {name: {"seconds": [], "peak": 0.0} for name in LOADERS}
    with tempfile.TemporaryDirectory() as space:
        folder, unpacked = FASHION, Path(space, "unpacked")
        if not folder.is_dir():
            folder = Path(space, "noise")
            folder.mkdir()
            write_images(folder)
        unpacked.mkdir()
        unpack(folder, unpacked)
        for turn in range(-warm_up, repeats):
            for name, one in found.items():
                touch(512 * MIB)
                with Child(__file__) as child:
                    asked = {"folder": str(folder), "unpacked": str(unpacked)}
                    took = child.ask(do="load", name=name, **asked)
                if turn >= 0:
                    one["seconds"].append(took["seconds"])
                    one["peak"] = max(one["peak"], took["peak"])
    return found


# The first step ----------------------------------------------------------------------------------

FIRST_STEP = """
import sys, time
clock, started = time.perf_counter, float(sys.argv[1])
begun = clock()
import anyback_nn as nn
from anyback_nn import Model
imported = clock()
import numpy as np
layers = nn.Dense(256), nn.ReLU(), nn.Dense(128), nn.ReLU(), nn.Dense(10)
model = Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=sys.argv[2])
made = clock()
x, y = np.zeros((128, 784), np.float32), np.zeros(128, np.int32)
model.fit(x, y, epochs=1, batch_size=128, progress=False)
stepped = clock()
model.fit(x, y, epochs=1, batch_size=128, progress=False)
again = clock()
print(begun - started, imported - begun, made - imported, stepped - made, again - stepped)
"""
PARTS = ("Python", "import", "backend", "first fit")


def first_step(backend: str) -> list[float]:
    """Start Python and take a step; give the seconds of each part, and of a second step."""
    # The clock is that of the machine since it was started, the same in all processes.
    printed = run("-c", FIRST_STEP, repr(time.perf_counter()), backend)
    return [float(one) for one in printed.split()]


def first_steps(repeats: int, warm_up: int) -> dict[str, Any]:
    """Take a first step on each backend when it is its turn."""
    return in_turns({name: partial(first_step, name) for name in BACKENDS}, repeats, warm_up)


def first_rows(found: dict[str, Any]) -> list[list[str]]:
    """Write a row for each backend."""
    rows = []
    for name, one in found.items():
        if isinstance(one, str):
            rows.append([f"{name} ({one})", *["-"] * (len(PARTS) + 2)])
            continue
        total = median(sum(parts[: len(PARTS)]) for parts in one)
        parts = [median(column) for column in zip(*one)]
        seconds = [f"{value:.3f}" for value in (total, *parts[: len(PARTS)])]
        rows.append([name, *seconds, f"{parts[-1] * 1e3:,.2f}"])
    return rows


# All of it ---------------------------------------------------------------------------------------


def answer(do: str, **asked: Any) -> Any:
    """Do in this process what another one asks for."""
    tasks: dict[str, Callable[..., Any]] = {"train": train, "load": load}
    return tasks[do](**asked)


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--repeats", type=int, default=0, help="of what is timed; default: 7")
    cli.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="NAME")
    options = cli.parse_args()
    repeats = options.repeats or (1 if options.quick else 7)
    # To compile takes the slowest of them most of a minute.
    left_out = (FLOOR, "torch.compile") if options.quick else (FLOOR,)
    names = options.systems or [name for name in SYSTEMS if name not in left_out]
    samples = 6_000 if options.quick else 60_000
    trained = peaks(names, samples, 1 if options.quick else 2)
    n_bytes = 4 * SIZES[0] * samples
    # The disk's cache is cold in a first turn.
    turns = {"repeats": repeats, "warm_up": 0 if options.quick else 1}
    loaded, stepped = loading(**turns), first_steps(**turns)
    packages = [one for name in names for one in SYSTEMS[name].packages]
    named = versions([*packages, "array-api-strict"])
    publish(
        options,
        [
            "# Memory and first moments",
            preamble(options, __file__, named),
            "## Peak memory in training",
            f"{NETWORK} on Fashion-MNIST{', a tenth of it' * options.quick}, batch "
            f"{BATCH}, Adam; MiB in memory: with the library imported and a network made, with the "
            f"data ({n_bytes / MIB:,.0f} MiB), the peak (VmHWM), and the peak above what the data "
            "and the library take.",
            table(["", "imported", "with data", "peak", "above"], peak_rows(trained)),
            "## Loading 70,000 images",
            f"Medians of {repeats} processes, and by how many MiB the peak rose; the floats take "
            "209 MiB, the bytes 52.",
            table(
                ["", "seconds", "MiB"],
                [
                    [name, f"{median(one['seconds']):.3f}", f"{one['peak'] / MIB:,.0f}"]
                    for name, one in loaded.items()
                ],
            ),
            "## Time to the first step",
            f"Seconds from the start of Python to the end of a `fit` of one batch of {BATCH}, "
            f"{NETWORK}: medians of {repeats} processes; then the milliseconds of "
            "a second such `fit`.",
            table(["backend", "total", *PARTS, "second fit, ms"], first_rows(stepped)),
        ],
        {"versions": named, "trained": trained, "loaded": loaded, "first_steps": stepped},
    )


if __name__ == "__main__":
    if is_child():
        serve(answer)
    else:
        main()
