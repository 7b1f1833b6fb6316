"""Where to make dropout masks: on the host and moved, or on the device (`anyback_nn.random.philox`).

    python benchmarks/dropout_masks.py --backend jax --output dropout_masks

All times are medians, and the variants take turns, so that other work on the machine meets all of
them. Each variant has been called once before, and what its first call took is a column of its own:
on JAX, that is mostly compilation, once for each shape.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
from report import parser, preamble, publish, table, versions

import anyback_nn as nn
from anyback_nn.random import Random, generator

SHAPES = ((16, 128), (128, 256), (1024, 256), (4096, 512))
KEEP = 0.8

MASK_HEAD = ["backend", "entries", "before", "host", "device", "device / host", "first on device"]
EPOCH_HEAD = ["backend", "host", "device", "device / host", "first, host", "first, device"]
EPOCH_HEAD += ["same loss"]


def alternate(variants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
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
    host = Random(generator(0, "noise"), backend, "float32")
    there = nn.select(backend, masks_on_device=True)
    device = Random(generator(0, "noise"), there, "float32")

    def draw(draws: Random) -> None:
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


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--backend", action="append", metavar="SPEC", help="default: numpy")
    cli.add_argument("--repeats", type=int, default=31, help="of each mask")
    cli.add_argument("--epochs", type=int, default=5, help="of each training run; 0: no training")
    cli.add_argument("--samples", type=int, default=0, help="of an epoch; default: 60,000")
    options = cli.parse_args()
    n_samples = options.samples or (6_000 if options.quick else 60_000)
    backends = [nn.select(spec) for spec in options.backend or ["numpy"]]
    named = versions(["numpy"]) | {one.name: one.version for one in backends}
    masks = [time_masks(one, shape, options.repeats) for one in backends for shape in SHAPES]
    epochs = []
    if options.epochs:
        epochs = [time_epochs(one, n_samples, options.epochs) for one in backends]
    parts = [
        "# Dropout masks: on the host or on the device",
        preamble(options, __file__, named),
        "One mask, in microseconds (before: drawn on the host as it was first done, by "
        '`random(dtype="float32") < probability`; the first call in milliseconds):',
        table(MASK_HEAD, masks),
    ]
    if epochs:
        parts += [
            f"One epoch of {n_samples:,} samples, 784-256-128-10 with dropout on both hidden "
            "layers, batches of 128, float32, in seconds (the first one with compilation and "
            "moving the data):",
            table(EPOCH_HEAD, epochs),
        ]
    publish(options, parts, {"versions": named, "masks": masks, "epochs": epochs})


if __name__ == "__main__":
    main()
