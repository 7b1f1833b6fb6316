"""Prediction beside other libraries: latency and throughput, from a NumPy array to a NumPy array.

    python benchmarks/prediction.py --quick

All systems have the same weights and give probabilities in float32; the largest difference between
theirs and ours is printed. Each has a process of its own and predicts for a moment when it is its
turn. A turn gives the median of its calls; times are medians of the turns, ratios are medians of
the ratios of each turn.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import partial
from statistics import median
from typing import Any, ClassVar

import numpy as np
from children import Child, ChildError, children, is_child, serve
from peers import networks
from peers.systems import ON_GPU
from peers.work import Work, first_weights
from report import parser, preamble, publish, ratio, table, versions
from turns import in_turns

SIZES = ((64, 64, 10), (784, 256, 128, 10))
BATCHES = (1, 64, 8192)
OURS = "ours, numpy"
FEWEST, MOST = 3, 2000
"""Calls of a turn."""


class Predictor(ABC):
    """A trained network that is called with a NumPy array.

    Parameters
    ----------
    sizes : tuple of int
    """

    packages: ClassVar[tuple[str, ...]]

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        self.prepare(first_weights(Work("", sizes, 1)))

    @abstractmethod
    def prepare(self, weights: list[tuple[Any, Any]]) -> None:
        """Build the network with these weights."""

    @abstractmethod
    def __call__(self, x: Any) -> Any:
        """Give the probabilities of the classes."""


class Ours(Predictor):
    """`Model.predict`."""

    packages = ("anyback_nn", "numpy")
    backend = "numpy"

    def prepare(self, weights: list[tuple[Any, Any]]) -> None:
        import ours

        self.model = ours.with_weights(ours.model(self.sizes, self.backend), weights)

    def __call__(self, x: Any) -> Any:
        return self.model.predict(x)


class OursTorch(Ours):
    """Ours on PyTorch."""

    packages = ("anyback_nn", "torch")
    backend = "torch"


class OursTorchCuda(OursTorch):
    """Ours on PyTorch on a GPU."""

    backend = "torch:cuda"


class OursCupy(Ours):
    """Ours on CuPy."""

    packages = ("anyback_nn", "cupy-cuda12x", "cupy-cuda13x")
    backend = "cupy"


class OursJax(Ours):
    """Ours on JAX."""

    packages = ("anyback_nn", "jax")
    backend = "jax"


class Sklearn(Predictor):
    """scikit-learn's ``predict_proba``."""

    packages = ("scikit-learn",)

    def prepare(self, weights: list[tuple[Any, Any]]) -> None:
        from sklearn.neural_network import MLPClassifier

        n_classes = self.sizes[-1]
        self.model = MLPClassifier(self.sizes[1:-1])
        # One step, for everything but the weights.
        x = np.zeros((n_classes, self.sizes[0]), np.float32)
        self.model.partial_fit(x, np.arange(n_classes), classes=np.arange(n_classes))
        self.model.coefs_, self.model.intercepts_ = (list(one) for one in zip(*weights))

    def __call__(self, x: Any) -> Any:
        return self.model.predict_proba(x)


class Torch(Predictor):
    """PyTorch, eager, in inference mode."""

    packages = ("torch",)
    device = "cpu"

    def prepare(self, weights: list[tuple[Any, Any]]) -> None:
        import torch

        self.torch = torch
        model = networks.of_torch(weights).append(torch.nn.Softmax(-1)).eval()
        self.model = model.to(self.device)

    def __call__(self, x: Any) -> Any:
        with self.torch.inference_mode():
            return self.model(self.torch.from_numpy(x).to(self.device)).cpu().numpy()


class TorchCuda(Torch):
    """PyTorch on a GPU, eager, in inference mode."""

    device = "cuda"


class Jax(Predictor):
    """JAX, one jitted function."""

    packages = ("jax",)

    def prepare(self, weights: list[tuple[Any, Any]]) -> None:
        import jax
        import jax.numpy as jnp

        def predict(params: Any, x: Any) -> Any:
            for weight, bias in params[:-1]:
                x = jax.nn.relu(x @ weight + bias)
            weight, bias = params[-1]
            return jax.nn.softmax(x @ weight + bias)

        self.params = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in weights]
        self.predict = jax.jit(predict)

    def __call__(self, x: Any) -> Any:
        return np.asarray(self.predict(self.params, x))


class KerasJax(Predictor):
    """Keras on JAX: ``predict_on_batch``, which is compiled and much quicker than ``predict``."""

    packages = ("keras", "jax")

    def prepare(self, weights: list[tuple[Any, Any]]) -> None:
        self.model = networks.of_keras(weights, softmax=True)

    def __call__(self, x: Any) -> Any:
        return np.asarray(self.model.predict_on_batch(x))


class Thinc(Predictor):
    """Thinc's ``predict``."""

    packages = ("thinc",)

    def prepare(self, weights: list[tuple[Any, Any]]) -> None:
        self.model = networks.of_thinc(weights)

    def __call__(self, x: Any) -> Any:
        return self.model.predict(x)


PREDICTORS: dict[str, type[Predictor]] = {
    OURS: Ours,
    "ours, torch": OursTorch,
    "ours, jax": OursJax,
    "scikit-learn": Sklearn,
    "torch eager": Torch,
    "JAX jit": Jax,
    "Keras on JAX": KerasJax,
    "Thinc": Thinc,
    "ours, cupy": OursCupy,
    "ours, torch:cuda": OursTorchCuda,
    "torch:cuda eager": TorchCuda,
}


def inputs(batch: int, n_in: int) -> Any:
    """Draw what is predicted, of about the size 1."""
    return np.random.default_rng(batch).random((batch, n_in), dtype=np.float32)


def latencies(predict: Any, x: Any, seconds: float) -> list[float]:
    """Call it for a moment; give the seconds of each call."""
    found: list[float] = []
    clock, end = time.perf_counter, time.perf_counter() + seconds
    while len(found) < FEWEST or (len(found) < MOST and clock() < end):
        started = clock()
        predict(x)
        found.append(clock() - started)
    return found


class Server:
    """One system in its process.

    Parameters
    ----------
    name : str
        Of `PREDICTORS`.
    """

    def __init__(self, name: str) -> None:
        self.kind = PREDICTORS[name]
        self.predictors: dict[tuple[int, ...], Predictor] = {}

    def __call__(self, do: str, sizes: list[int], batch: int, seconds: float = 0.0) -> Any:
        """Answer: ``"values"`` are some probabilities, ``"time"`` is a turn."""
        key = tuple(sizes)
        if key not in self.predictors:
            self.predictors[key] = self.kind(key)
        predict, x = self.predictors[key], inputs(batch, sizes[0])
        if do == "values":
            return np.asarray(predict(x))[:64].tolist()
        return median(latencies(predict, x, seconds))


def measure(
    systems: dict[str, Child], sizes: tuple[int, ...], batch: int, repeats: int, seconds: float
) -> dict[str, Any]:
    """Measure one network with one batch.

    Returns
    -------
    dict of str to dict
        ``seconds`` of a call, one entry a turn, and ``difference``, the largest to ours; or the
        reason why there are none.
    """
    found: dict[str, Any] = {}
    asked = {"sizes": sizes, "batch": batch}
    expected = None
    for name, child in systems.items():
        try:
            values = np.asarray(child.ask(do="values", **asked))
            child.ask(do="time", seconds=seconds / 4, **asked)
        except ChildError as error:
            found[name] = str(error)
            continue
        expected = values if expected is None else expected
        found[name] = {"difference": float(np.max(np.abs(values - expected)))}
    tasks = {
        name: partial(systems[name].ask, do="time", seconds=seconds, **asked)
        for name, one in found.items()
        if isinstance(one, dict)
    }
    for name, one in in_turns(tasks, repeats).items():
        found[name] = one if isinstance(one, str) else found[name] | {"seconds": one}
    return found


def measure_cases(
    names: Iterable[str], repeats: int, seconds: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure one network and batch after another; yield the case and what was found."""
    with children(__file__, names) as systems:
        for sizes in SIZES:
            for batch in BATCHES:
                case = f"{'-'.join(map(str, sizes))}, batch {batch:,}"
                yield case, measure(systems, sizes, batch, repeats, seconds)


def cells(found: dict[str, Any], batch: int) -> list[list[str]]:
    """Write the latency, the throughput and the ratio to ours of each system."""
    rows = []
    for name, one in found.items():
        if isinstance(one, str):
            rows.append([f"{name} ({one})", "-", "-", "-"])
            continue
        took = median(one["seconds"])
        to_ours = f"{ratio(one['seconds'], found[OURS]['seconds']):.2f}"
        rows.append([name, f"{took * 1e6:,.1f}", f"{batch / took:,.0f}", to_ours])
    return rows


def summary(results: dict[str, Any]) -> list[list[str]]:
    """Write the ratios of all systems, a row for each network and batch."""
    rows = []
    for case, found in results.items():
        ours = found[OURS]["seconds"]
        ratios = [
            f"{ratio(one['seconds'], ours):.2f}" if isinstance(one, dict) else "-"
            for name, one in found.items()
            if name != OURS
        ]
        rows.append([case, f"{median(ours) * 1e6:,.1f}", *ratios])
    return rows


def main() -> None:
    """Measure, print, and write what was asked for."""
    cli = parser(__doc__)
    cli.add_argument("--repeats", type=int, default=0, help="turns of each; default: 7")
    usual = [name for name in PREDICTORS if name not in ON_GPU]
    cli.add_argument("--systems", nargs="+", choices=PREDICTORS, metavar="NAME", default=usual)
    options = cli.parse_args()
    # Ours on NumPy is what the others are compared with.
    names = list(dict.fromkeys([OURS, *options.systems]))
    repeats, seconds = (
        options.repeats or (3 if options.quick else 7),
        0.05 if options.quick else 0.3,
    )
    packages = [one for name in names for one in PREDICTORS[name].packages]
    results = dict(measure_cases(names, repeats, seconds))
    named = versions(packages)
    differences = [
        one["difference"]
        for found in results.values()
        for one in found.values()
        if isinstance(one, dict)
    ]
    parts = [
        "# Prediction beside other libraries",
        preamble(options, __file__, named),
        f"From a NumPy array in float32 to probabilities in a NumPy array, medians of {repeats} "
        f"turns of {seconds:g} s. The largest difference between a probability of another system "
        f"and ours on NumPy: {max(differences):.1e}.",
        "Their time over that of ours on NumPy (above 1: ours is faster), and our microseconds a "
        "call:",
        table(["", "ours, us", *names[1:]], summary(results)),
    ]
    for (case, found), batch in zip(results.items(), BATCHES * len(SIZES)):
        parts += [
            f"## {case}",
            table(["", "us a call", "samples/s", "ratio"], cells(found, batch)),
        ]
    publish(options, parts, {"versions": named, "results": results})


if __name__ == "__main__":
    if is_child():
        serve(Server(sys.argv[2]))
    else:
        main()
