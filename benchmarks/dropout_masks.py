"""Where to make dropout masks: on the host and moved, or on the device (`anyback_nn.philox`).

    python benchmarks/dropout_masks.py --backend jax --output benchmarks/results/dropout_masks.md

All times are medians, and the variants take turns, so that other work on the machine meets all of
them. Each variant has been called once before, and what its first call took is a column of its own:
on JAX, that is mostly compilation, once for each shape.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

import anyback_nn as nn
from anyback_nn.random import Draws, generator

SHAPES = ((16, 128), (128, 256), (1024, 256), (4096, 512))
KEEP = 0.8

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MASK_HEAD = ["backend", "entries", "before", "host", "device", "device / host", "first on device"]
EPOCH_HEAD = ["backend", "host", "device", "device / host", "first, host", "first, device"]
EPOCH_HEAD += ["same loss"]


def alternate(variants: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Give the median seconds of each variant."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: median(one) for name, one in seconds.items()}


def time_masks(backend: nn.Backend, shape: tuple[int, ...], repeats: int) -> list[str]:
    """Time one mask: a row of the table."""
    host = Draws(generator(0, "noise"), backend, "float32")
    there = nn.select(backend, masks_on_device=True)
    device = Draws(generator(0, "noise"), there, "float32")

    def draw(draws: Draws) -> None:
        backend.synchronize(draws.bernoulli(shape, KEEP))

    def before() -> None:
        """Draw on the host as it was first done: a number in float32 for each entry."""
        backend.synchronize(backend.asarray(host.generator.random(shape, dtype="float32") < KEEP))

    variants = {"before": before, "host": lambda: draw(host), "device": lambda: draw(device)}
    first = alternate(variants, repeats=1)["device"]
    took = alternate(variants, repeats)
    times = [f"{1e6 * took[name]:,.0f}" for name in variants]
    ratio = took["device"] / took["host"]
    return [backend.spec, f"{np.prod(shape):,}", *times, f"{ratio:.1f}", f"{1e3 * first:,.0f}"]


def time_epochs(backend: nn.Backend, n_samples: int, repeats: int) -> list[str]:
    """Time epochs of data of Fashion-MNIST's shape: a row of the table."""
    rng = np.random.default_rng(0)
    x = rng.random((n_samples, 784), dtype="float32")
    y = rng.integers(10, size=n_samples)
    models = {
        name: nn.Model(
            *(nn.Dense(256), nn.ReLU(), nn.Dropout(1 - KEEP)),
            *(nn.Dense(128), nn.ReLU(), nn.Dropout(1 - KEEP)),
            nn.Dense(10),
            loss=nn.SoftmaxCrossEntropy(),
            backend=nn.select(backend, masks_on_device=name == "device"),
        )
        for name in ("host", "device")
    }
    variants = {
        name: lambda model=model: model.fit(x, y, epochs=1, batch_size=128, progress=False)
        for name, model in models.items()
    }
    first = alternate(variants, repeats=1)
    alternate(variants, repeats)
    # The model's own clock leaves out that each call moves the data.
    took = {
        name: median(row["seconds"] for row in model.history.rows[1:])
        for name, model in models.items()
    }
    losses = {model.history.last["train_loss"] for model in models.values()}
    same = "yes" if len(losses) == 1 else "no"
    times = [f"{took[name]:.2f}" for name in models]
    firsts = [f"{first[name]:.2f}" for name in models]
    return [backend.spec, *times, f"{took['device'] / took['host']:.2f}", *firsts, same]


def table(head: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table, whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", action="append", metavar="SPEC", help="default: numpy")
    parser.add_argument("--machine", default=f"{os.cpu_count()}-core CPU", help="how to call it")
    parser.add_argument("--repeats", type=int, default=31, help="of each mask")
    parser.add_argument(
        "--epochs", type=int, default=5, help="of each training run; 0: no training"
    )
    parser.add_argument("--samples", type=int, default=60_000, help="of an epoch")
    parser.add_argument("--remark", default="", help="what else a reader should know")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write the tables")
    options = parser.parse_args()
    backends = [nn.select(spec) for spec in options.backend or ["numpy"]]
    versions = {"Python": platform.python_version(), "NumPy": np.__version__}
    versions |= {one.name: one.version for one in backends if one.name != "numpy"}
    threads = [f"`{name}={os.environ.get(name, 'not set')}`" for name in THREADS]
    masks = [time_masks(one, shape, options.repeats) for one in backends for shape in SHAPES]
    parts = [
        "# Dropout masks: on the host or on the device",
        f"{options.machine}; {', '.join(f'{name} {one}' for name, one in versions.items())}; "
        f"{', '.join(threads)}. Made by `benchmarks/dropout_masks.py`, which says how. "
        f"{options.remark}".rstrip(),
        "One mask, in microseconds (before: drawn on the host as it was first done, by "
        '`random(dtype="float32") < probability`; the first call in milliseconds):',
        table(MASK_HEAD, masks),
    ]
    if options.epochs:
        epochs = [time_epochs(one, options.samples, options.epochs) for one in backends]
        parts += [
            f"One epoch of {options.samples:,} samples, 784-256-128-10 with dropout on both hidden "
            "layers, batches of 128, float32, in seconds (the first one with compilation and "
            "moving the data):",
            table(EPOCH_HEAD, epochs),
        ]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
