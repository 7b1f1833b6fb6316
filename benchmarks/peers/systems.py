"""The systems that are compared: each trains a row of the table, an epoch at a time, or predicts.

A system is a setting without arrays: ``packages`` names what computes, ``missing`` what it does not
have, and ``make_turn`` and ``make_predictor`` return a function. Each is written as its own
documentation advises for speed.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

import anyback_nn as nn
from benchmarks.harness.internals import set_weights
from benchmarks.peers.workloads import MOMENTUM, RATES, Workload, draw_batches, draw_weights

Turn = Callable[[], tuple[float, float | None]]
"""Trains an epoch for the caches and one that counts; returns the seconds and the loss of it."""
Predictor = Callable[[Any], Any]
"""From inputs to the probabilities of the classes, NumPy arrays both."""


class System(ABC):
    """A library that trains and predicts."""

    packages: tuple[str, ...]

    def missing(self, workload: Workload) -> str | None:
        """Return what this system does not have of a row, or None."""
        return None

    @abstractmethod
    def make_turn(self, workload: Workload, x: Any, y: Any) -> Turn:
        """Build the network of a row, and return the function that trains it."""

    def make_predictor(self, workload: Workload) -> Predictor:
        """Build the network of a row with its first weights, to predict."""
        raise NotImplementedError


def make_model(workload: Workload, backend: Any = "numpy") -> nn.Model:
    """Create our network of a row of the table, which records its loss alone."""
    layers: list[Any] = []
    for n in workload.sizes[1:-1]:
        layers.append(nn.Dense(n))
        layers += [nn.BatchNorm()] if workload.batch_norm else []
        layers.append(nn.ReLU())
        layers += [nn.Dropout(workload.dropout)] if workload.dropout else []
    layers.append(nn.Dense(workload.sizes[-1]))
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend, metrics=())


def make_optimizer(workload: Workload) -> nn.Optimizer:
    """Create our optimiser of a row of the table."""
    rate = RATES[workload.optimizer]
    return nn.Adam(rate) if workload.optimizer == "adam" else nn.Momentum(rate, MOMENTUM)


class EpochEnds(nn.Callback):
    """Records when epochs end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_epoch_end(self, fit: Any) -> None:
        self.times.append(time.perf_counter())


@dataclass(frozen=True)
class Ours(System):
    """`Model.fit`, two epochs a turn, on one of the backends."""

    backend: str = "numpy"
    libraries: tuple[str, ...] = ("numpy",)

    @property
    def packages(self) -> tuple[str, ...]:  # type: ignore[override]
        """Our package, and what the backend computes with."""
        return ("anyback_nn", *self.libraries)

    def make_model(self, workload: Workload) -> nn.Model:
        """Create the network with its first weights."""
        return set_weights(make_model(workload, self.backend), draw_weights(workload))

    def make_turn(self, workload: Workload, x: Any, y: Any) -> Turn:
        model, optimizer = self.make_model(workload), make_optimizer(workload)
        options: dict[str, Any] = {"batch_size": workload.batch, "progress": False}

        def turn() -> tuple[float, float]:
            ends = EpochEnds()
            model.fit(x, y, optimizer=optimizer, epochs=2, callbacks=[ends], **options)
            return ends.times[1] - ends.times[0], model.history.last["train_loss"]

        return turn

    def make_predictor(self, workload: Workload) -> Predictor:
        return self.make_model(workload).predict


Epoch = Callable[[list[Any]], float | None]
"""Trains an epoch of these batches of row indices; returns the mean loss of the batches."""


class Peer(System):
    """A system with a function that trains one epoch."""

    @abstractmethod
    def make_epoch(self, workload: Workload, x: Any, y: Any) -> Epoch:
        """Build the network, move the data, and return the function."""

    def make_turn(self, workload: Workload, x: Any, y: Any) -> Turn:
        orders = (draw_batches(len(x), workload.batch, number) for number in count())
        losses = map(self.make_epoch(workload, x, y), orders)

        def turn() -> tuple[float, float | None]:
            next(losses)
            started = time.perf_counter()
            loss = next(losses)
            return time.perf_counter() - started, loss

        return turn


class Sklearn(Peer):
    """scikit-learn's MLPClassifier: ``partial_fit`` is one epoch, in an order of its own."""

    packages = ("scikit-learn",)

    def missing(self, workload: Workload) -> str | None:
        return "no dropout, no batch norm" if workload.dropout or workload.batch_norm else None

    def make_epoch(self, workload: Workload, x: Any, y: Any) -> Epoch:
        from sklearn.neural_network import MLPClassifier

        mlp = MLPClassifier(
            workload.sizes[1:-1],
            solver="adam" if workload.optimizer == "adam" else "sgd",
            batch_size=workload.batch,
            learning_rate_init=RATES[workload.optimizer],
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            alpha=0.0,
        )
        classes, seeds = np.unique(y), count()

        def epoch(batches: list[Any]) -> float:
            # Each call starts from the random state again: without this, in the same order.
            mlp.random_state = next(seeds)
            mlp.partial_fit(x, y, classes=classes)
            return float(mlp.loss_)

        return epoch

    def make_predictor(self, workload: Workload) -> Predictor:
        from sklearn.neural_network import MLPClassifier

        mlp, n_classes = MLPClassifier(workload.sizes[1:-1]), workload.sizes[-1]
        # One step creates all attributes.
        x = np.zeros((n_classes, workload.sizes[0]), np.float32)
        mlp.partial_fit(x, np.arange(n_classes), classes=np.arange(n_classes))
        mlp.coefs_, mlp.intercepts_ = (list(arrays) for arrays in zip(*draw_weights(workload)))
        return mlp.predict_proba


@dataclass(frozen=True)
class Torch(Peer):
    """PyTorch with the fused optimiser, eager or with ``torch.compile`` around network and loss."""

    device: str = "cpu"
    compiled: bool = False
    packages = ("torch",)

    def make_network(self, workload: Workload) -> Any:
        """Build a network that computes logits."""
        import torch
        from torch import nn

        layers: list[Any] = []
        for weight, bias in draw_weights(workload):
            dense = nn.Linear(*weight.shape)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(weight.T))
                dense.bias.copy_(torch.from_numpy(bias))
            layers.append(dense)
            layers += [nn.BatchNorm1d(len(bias))] if workload.batch_norm else []
            layers.append(nn.ReLU())
            layers += [nn.Dropout(workload.dropout)] if workload.dropout else []
        n_after_last = 1 + workload.batch_norm + bool(workload.dropout)
        return nn.Sequential(*layers[:-n_after_last]).to(self.device)

    def make_epoch(self, workload: Workload, x: Any, y: Any) -> Epoch:
        import torch

        network, loss_function = self.make_network(workload), torch.nn.CrossEntropyLoss()
        rate, parameters = RATES[workload.optimizer], network.parameters()
        if workload.optimizer == "adam":
            optimizer: Any = torch.optim.Adam(parameters, rate, fused=True)
        else:
            optimizer = torch.optim.SGD(parameters, rate, momentum=MOMENTUM, fused=True)
        inputs = torch.from_numpy(x).to(self.device)
        targets = torch.from_numpy(y).long().to(self.device)

        def objective(x: Any, y: Any) -> Any:
            return loss_function(network(x), y)

        # The last batch of an epoch may be smaller: it gets code of its own, and leaves that of the
        # others unchanged.
        forward = torch.compile(objective, dynamic=False) if self.compiled else objective

        def epoch(batches: list[Any]) -> float:
            total = torch.zeros((), device=self.device)
            # All indices are copied at once: the CPU would wait for each copy.
            indices = torch.from_numpy(np.concatenate(batches)).to(self.device)
            for rows in indices.split(workload.batch):
                optimizer.zero_grad(set_to_none=True)
                loss = forward(inputs[rows], targets[rows])
                loss.backward()
                optimizer.step()
                total += loss.detach()
            return float(total) / len(batches)

        return epoch

    def make_predictor(self, workload: Workload) -> Predictor:
        import torch

        network = self.make_network(workload).append(torch.nn.Softmax(-1)).eval()

        def predict(x: Any) -> Any:
            with torch.inference_mode():
                return network(torch.from_numpy(x).to(self.device)).cpu().numpy()

        return predict


@dataclass(frozen=True)
class Jax(Peer):
    """JAX with Optax: jitted, the data on the device, parameters donated.

    Parameters
    ----------
    scan : bool
        Whether the steps of an epoch are one ``lax.scan``; a smaller batch is a step alone.
    """

    scan: bool = False
    packages = ("jax", "optax")

    def make_epoch(self, workload: Workload, x: Any, y: Any) -> Epoch:
        import jax
        import jax.numpy as jnp
        import optax

        rate = RATES[workload.optimizer]
        optimizer = optax.adam(rate) if workload.optimizer == "adam" else optax.sgd(rate, MOMENTUM)
        hidden = workload.sizes[1:-1]
        params = [{"w": jnp.asarray(w), "b": jnp.asarray(b)} for w, b in draw_weights(workload)]
        running = []
        if workload.batch_norm:
            running = [(jnp.zeros(n), jnp.ones(n)) for n in hidden]
            for layer, n in zip(params, hidden):
                layer |= {"scale": jnp.ones(n), "shift": jnp.zeros(n)}
        inputs, targets = jnp.asarray(x), jnp.asarray(y)

        def objective(params: Any, running: Any, key: Any, x: Any, y: Any) -> Any:
            averages = []
            for position, layer in enumerate(params[:-1]):
                x = x @ layer["w"] + layer["b"]
                if workload.batch_norm:
                    mean, variance = x.mean(0), x.var(0)
                    old = running[position]
                    averages.append((0.9 * old[0] + 0.1 * mean, 0.9 * old[1] + 0.1 * variance))
                    x = (x - mean) * jax.lax.rsqrt(variance + 1e-5) * layer["scale"]
                    x += layer["shift"]
                x = jax.nn.relu(x)
                if workload.dropout:
                    key, own = jax.random.split(key)
                    mask = jax.random.bernoulli(own, 1 - workload.dropout, x.shape)
                    x = jnp.where(mask, x / (1 - workload.dropout), 0.0)
            logits = x @ params[-1]["w"] + params[-1]["b"]
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            return losses.mean(), averages

        def step(state: Any, x: Any, y: Any, rows: Any) -> Any:
            params, slots, running, key = state
            key, own = jax.random.split(key)
            differentiate = jax.value_and_grad(objective, has_aux=True)
            (loss, running), grads = differentiate(params, running, own, x[rows], y[rows])
            updates, slots = optimizer.update(grads, slots, params)
            return (optax.apply_updates(params, updates), slots, running, key), loss

        def steps(state: Any, x: Any, y: Any, batches: Any) -> Any:
            return jax.lax.scan(lambda state, rows: step(state, x, y, rows), state, batches)

        state: Any = (params, optimizer.init(params), running, jax.random.key(0))
        step_jit, steps_jit = (jax.jit(one, donate_argnums=0) for one in (step, steps))

        def epoch(batches: list[Any]) -> float:
            nonlocal state
            losses: list[Any] = []
            if self.scan:
                full = [rows for rows in batches if len(rows) == len(batches[0])]
                state, scanned = steps_jit(state, inputs, targets, np.stack(full))
                losses, batches = list(np.asarray(scanned)), batches[len(full) :]
            for rows in batches:
                state, loss = step_jit(state, inputs, targets, rows)
                losses.append(loss)
            return float(np.mean([float(loss) for loss in losses]))

        return epoch

    def make_predictor(self, workload: Workload) -> Predictor:
        import jax
        import jax.numpy as jnp

        params = [
            (jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in draw_weights(workload)
        ]

        @jax.jit
        def predict(params: Any, x: Any) -> Any:
            for weight, bias in params[:-1]:
                x = jax.nn.relu(x @ weight + bias)
            weight, bias = params[-1]
            return jax.nn.softmax(x @ weight + bias)

        return lambda x: np.asarray(predict(params, x))


class KerasJax(Peer):
    """Keras on JAX: ``fit``, one epoch a call; ``predict_on_batch``, quicker than ``predict``."""

    packages = ("keras", "jax")

    def make_network(self, workload: Workload, activation: str | None = None) -> Any:
        """Build a network that computes logits, or probabilities by softmax."""
        os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported
        from keras import Input, Sequential, layers

        stack: list[Any] = [Input((workload.sizes[0],))]
        for n in workload.sizes[1:-1]:
            stack.append(layers.Dense(n))
            stack += [layers.BatchNormalization()] if workload.batch_norm else []
            stack.append(layers.ReLU())
            stack += [layers.Dropout(workload.dropout)] if workload.dropout else []
        model = Sequential([*stack, layers.Dense(workload.sizes[-1], activation)])
        dense = (layer for layer in model.layers if isinstance(layer, layers.Dense))
        for layer, pair in zip(dense, draw_weights(workload)):
            layer.set_weights(list(pair))
        return model

    def make_epoch(self, workload: Workload, x: Any, y: Any) -> Epoch:
        model, rate = self.make_network(workload), RATES[workload.optimizer]
        from keras import losses, optimizers

        adam = workload.optimizer == "adam"
        model.compile(
            optimizer=optimizers.Adam(rate) if adam else optimizers.SGD(rate, MOMENTUM),
            loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        )

        def epoch(batches: list[Any]) -> float:
            history = model.fit(x, y, batch_size=workload.batch, epochs=1, verbose=0, shuffle=True)
            return float(history.history["loss"][0])

        return epoch

    def make_predictor(self, workload: Workload) -> Predictor:
        model = self.make_network(workload, "softmax")
        return lambda x: np.asarray(model.predict_on_batch(x))


class Thinc(Peer):
    """Thinc on its NumPy operations, or those of BLAS where they are built in."""

    packages = ("thinc",)

    def missing(self, workload: Workload) -> str | None:
        return "no batch norm" if workload.batch_norm else None

    def make_network(self, workload: Workload) -> Any:
        """Build a network that computes probabilities, on the CPU."""
        import thinc.api as thinc

        thinc.set_current_ops(thinc.get_ops("cpu"))
        n_in, *hidden, n_out = workload.sizes
        layers = [thinc.Relu(n, dropout=workload.dropout or None) for n in hidden]
        model: Any = thinc.chain(*layers, thinc.Softmax(n_out))
        model.initialize(X=np.zeros((2, n_in), np.float32), Y=np.eye(2, n_out, dtype=np.float32))
        for layer, (weight, bias) in zip(model.layers, draw_weights(workload)):
            layer.set_param("W", np.ascontiguousarray(weight.T))
            layer.set_param("b", bias)
        return model

    def make_epoch(self, workload: Workload, x: Any, y: Any) -> Epoch:
        import thinc.api as thinc

        model = self.make_network(workload)
        one_hot = np.eye(workload.sizes[-1], dtype=np.float32)[y]
        # It has no momentum: plain descent is less workload.
        make = thinc.Adam if workload.optimizer == "adam" else thinc.SGD
        optimizer = make(RATES[workload.optimizer], L2=0.0, grad_clip=0.0, use_averages=False)

        def epoch(batches: list[Any]) -> float:
            total = 0.0
            for rows in batches:
                labels = one_hot[rows]
                guesses, backward = model.begin_update(x[rows])
                backward((guesses - labels) / len(rows))
                model.finish_update(optimizer)
                total -= float(np.log(np.maximum((guesses * labels).sum(1), 1e-30)).mean())
            return total / len(batches)

        return epoch

    def make_predictor(self, workload: Workload) -> Predictor:
        return self.make_network(workload).predict


class Floor(Peer):
    """No system: the matrix products of an epoch alone, by NumPy, into existing memory."""

    packages = ("numpy",)

    def make_epoch(self, workload: Workload, x: Any, y: Any) -> Epoch:
        weights = [weight for weight, _ in draw_weights(workload)]
        batch = min(workload.batch, len(x))
        values = [np.ones((batch, n), np.float32) for n in workload.sizes]
        outputs = [np.empty_like(value) for value in values]
        grads = [np.empty_like(weight) for weight in weights]

        def epoch(batches: list[Any]) -> None:
            for _ in batches:
                for i, weight in enumerate(weights):
                    np.matmul(values[i], weight, out=outputs[i + 1])
                for i in range(len(weights) - 1, -1, -1):
                    np.matmul(values[i].T, values[i + 1], out=grads[i])
                    if i:
                        np.matmul(values[i + 1], weights[i].T, out=outputs[i])

        return epoch


FLOOR = "products alone"
SYSTEMS: dict[str, System] = {
    "ours, numpy": Ours(),
    "ours, torch": Ours("torch", ("torch",)),
    "ours, jax": Ours("jax", ("jax",)),
    "scikit-learn": Sklearn(),
    "torch eager": Torch(),
    "torch.compile": Torch(compiled=True),
    "JAX + Optax": Jax(),
    "JAX + Optax, scan": Jax(scan=True),
    "Keras on JAX": KerasJax(),
    "Thinc": Thinc(),
    FLOOR: Floor(),
    "ours, cupy": Ours("cupy", ("cupy-cuda12x", "cupy-cuda13x")),
    "ours, torch:cuda": Ours("torch:cuda", ("torch",)),
    "torch:cuda eager": Torch("cuda"),
}
ON_GPU = ("ours, cupy", "ours, torch:cuda", "torch:cuda eager")
"""Systems that need a GPU. Those of JAX use one where it is usable."""


def find_packages(systems: list[str]) -> list[str]:
    """List the packages that these systems compute with."""
    return [package for name in systems for package in SYSTEMS[name].packages]
