"""The systems that are compared: each takes a row of the table and trains it, an epoch at a time.

Every class has the same form: ``versions`` names what computes, ``missing`` says what a system does
not have, and an instance is called to train one epoch, which gives the last loss that it computed.
Each is written as its own documentation advises for speed.
"""

from __future__ import annotations

import threading
import time
import warnings
from abc import ABC, abstractmethod
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from work import MOMENTUM, RATES, Work, first_weights, order


class System(ABC):
    """Trains one row of the table.

    Parameters
    ----------
    work : Work
    x, y : numpy.ndarray
    """

    packages: ClassVar[tuple[str, ...]]

    def __init__(self, work: Work, x: Any, y: Any) -> None:
        self.work, self.x, self.y, self.epochs = work, x, y, 0
        self.prepare()

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Name the packages that compute, with their versions."""
        return {name: version(name) for name in cls.packages}

    @classmethod
    def missing(cls, work: Work) -> str | None:
        """Say what this system does not have of a row."""
        return None

    @abstractmethod
    def prepare(self) -> None:
        """Build the network and move the data."""

    @abstractmethod
    def epoch(self) -> float:
        """Train one epoch."""

    def timed(self) -> tuple[float, float]:
        """Train one epoch; give the seconds and the loss."""
        started = time.perf_counter()
        loss = self.epoch()
        self.epochs += 1
        return time.perf_counter() - started, loss

    def batches(self) -> list[Any]:
        """Draw the batches of the next epoch."""
        return order(len(self.x), self.work.batch, self.epochs)


class Ours(System):
    """`Model.fit`, stopped between epochs by a callback, on one of the backends."""

    packages = ("anyback_nn", "numpy")
    backend = "numpy"

    def prepare(self) -> None:
        import anyback_nn as nn

        work, layers = self.work, []
        for position, (weight, _) in enumerate(first_weights(work)):
            last = position == len(work.sizes) - 2
            layers.append(nn.Dense(weight.shape[1]))
            if not last:
                layers += [nn.BatchNorm()] if work.batch_norm else []
                layers.append(nn.ReLU())
                layers += [nn.Dropout(work.dropout)] if work.dropout else []
        self.model = nn.Model(
            *layers, loss=nn.SoftmaxCrossEntropy(), backend=self.backend, metrics=()
        )
        rate = RATES[work.optimizer]
        optimizer = nn.Adam(rate) if work.optimizer == "adam" else nn.Momentum(rate, MOMENTUM)
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.result: Any = None
        system = self

        class Pause(nn.Callback):
            def on_train_begin(self, fit: Any) -> None:
                system.wait()

            def on_epoch_end(self, fit: Any) -> None:
                system.result = (
                    time.perf_counter() - system.started,
                    fit.history.last["train_loss"],
                )
                system.done.release()
                system.wait()

        def fit() -> None:
            try:
                self.model.fit(
                    self.x,
                    self.y,
                    optimizer=optimizer,
                    epochs=10**6,
                    batch_size=work.batch,
                    callbacks=[Pause()],
                    progress=False,
                )
            except Exception as error:
                self.result = error
                self.done.release()

        threading.Thread(target=fit, daemon=True).start()

    def wait(self) -> None:
        """Wait for the next epoch to be asked for."""
        self.go.acquire()
        self.started = time.perf_counter()

    def timed(self) -> tuple[float, float]:
        self.go.release()
        self.done.acquire()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def epoch(self) -> float:
        return self.timed()[1]


class OursTorch(Ours):
    """Ours on PyTorch."""

    packages = ("anyback_nn", "torch")
    backend = "torch"


class OursJax(Ours):
    """Ours on JAX."""

    packages = ("anyback_nn", "jax")
    backend = "jax"


class OursCupy(Ours):
    """Ours on CuPy."""

    packages = ("anyback_nn", "cupy-cuda13x")
    backend = "cupy"


class Sklearn(System):
    """scikit-learn's MLPClassifier: ``partial_fit`` is one epoch."""

    packages = ("scikit-learn",)

    @classmethod
    def missing(cls, work: Work) -> str | None:
        return "no dropout, no batch norm" if work.dropout or work.batch_norm else None

    def prepare(self) -> None:
        from sklearn.neural_network import MLPClassifier

        work = self.work
        self.mlp = MLPClassifier(
            work.sizes[1:-1],
            solver="adam" if work.optimizer == "adam" else "sgd",
            batch_size=work.batch,
            learning_rate_init=RATES[work.optimizer],
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            alpha=0.0,
            random_state=0,
        )
        self.classes = np.unique(self.y)

    def epoch(self) -> float:
        self.mlp.partial_fit(self.x, self.y, classes=self.classes)
        return float(self.mlp.loss_)


class Torch(System):
    """PyTorch, eager, with the fused optimiser."""

    packages = ("torch",)
    compiled = False

    def prepare(self) -> None:
        import torch
        from torch import nn

        work, layers = self.work, []
        for position, (weight, bias) in enumerate(first_weights(work)):
            dense = nn.Linear(*weight.shape)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(weight.T))
                dense.bias.copy_(torch.from_numpy(bias))
            layers.append(dense)
            if position < len(work.sizes) - 2:
                layers += [nn.BatchNorm1d(weight.shape[1])] if work.batch_norm else []
                layers.append(nn.ReLU())
                layers += [nn.Dropout(work.dropout)] if work.dropout else []
        self.model = nn.Sequential(*layers)
        self.loss = nn.CrossEntropyLoss()
        rate, parameters = RATES[work.optimizer], self.model.parameters()
        if work.optimizer == "adam":
            self.optimizer = torch.optim.Adam(parameters, rate, fused=True)
        else:
            self.optimizer = torch.optim.SGD(parameters, rate, momentum=MOMENTUM, fused=True)
        self.inputs, self.targets = torch.from_numpy(self.x), torch.from_numpy(self.y).long()
        self.forward = self.objective
        if self.compiled:
            self.forward = torch.compile(self.objective)

    def objective(self, x: Any, y: Any) -> Any:
        """Compute the loss of a batch."""
        return self.loss(self.model(x), y)

    def epoch(self) -> float:
        import torch

        total = None
        for rows in self.batches():
            chosen = torch.from_numpy(rows)
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.forward(self.inputs[chosen], self.targets[chosen])
            loss.backward()
            self.optimizer.step()
            total = loss.detach() if total is None else total + loss.detach()
        return float(total) / len(self.batches())


class TorchCompiled(Torch):
    """PyTorch with ``torch.compile`` around the network and its loss."""

    compiled = True


class Jax(System):
    """JAX with Optax: one jitted step, the data on the device, parameters donated."""

    packages = ("jax", "optax")

    def prepare(self) -> None:
        import jax
        import jax.numpy as jnp
        import optax

        work, rate = self.work, RATES[self.work.optimizer]
        optimizer = optax.adam(rate) if work.optimizer == "adam" else optax.sgd(rate, MOMENTUM)
        params = [
            {"w": jnp.asarray(w), "b": jnp.asarray(b), **_norm(work, w.shape[1], jnp)}
            for w, b in first_weights(work)
        ]
        running = [(jnp.zeros(n), jnp.ones(n)) for n in work.sizes[1:-1]] if work.batch_norm else []
        self.inputs, self.targets = jnp.asarray(self.x), jnp.asarray(self.y)

        def objective(params: Any, running: Any, key: Any, x: Any, y: Any) -> Any:
            kept = []
            for position, layer in enumerate(params[:-1]):
                x = x @ layer["w"] + layer["b"]
                if work.batch_norm:
                    mean, variance = x.mean(0), x.var(0)
                    old = running[position]
                    kept.append((0.9 * old[0] + 0.1 * mean, 0.9 * old[1] + 0.1 * variance))
                    x = (x - mean) * jax.lax.rsqrt(variance + 1e-5) * layer["scale"]
                    x += layer["shift"]
                x = jax.nn.relu(x)
                if work.dropout:
                    key, own = jax.random.split(key)
                    mask = jax.random.bernoulli(own, 1 - work.dropout, x.shape)
                    x = jnp.where(mask, x / (1 - work.dropout), 0.0)
            logits = x @ params[-1]["w"] + params[-1]["b"]
            values = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            return values.mean(), kept

        def step(params: Any, state: Any, running: Any, key: Any, x: Any, y: Any, rows: Any) -> Any:
            key, own = jax.random.split(key)
            derive = jax.value_and_grad(objective, has_aux=True)
            (loss, running), grads = derive(params, running, own, x[rows], y[rows])
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state, running, key, loss

        self.state = (params, optimizer.init(params), running, jax.random.key(0))
        self.step = jax.jit(step, donate_argnums=(0, 1, 2, 3))

    def epoch(self) -> float:
        losses = []
        for rows in self.batches():
            *state, loss = self.step(*self.state, self.inputs, self.targets, rows)
            self.state = tuple(state)
            losses.append(loss)
        return float(np.mean([float(loss) for loss in losses]))


def _norm(work: Work, n: int, jnp: Any) -> dict[str, Any]:
    """Make the parameters of batch normalisation."""
    if not work.batch_norm or n == work.sizes[-1]:
        return {}
    return {"scale": jnp.ones(n), "shift": jnp.zeros(n)}


class KerasJax(System):
    """Keras on JAX: ``fit``, an epoch a call."""

    packages = ("keras", "jax")

    def prepare(self) -> None:
        import os

        os.environ["KERAS_BACKEND"] = "jax"
        import keras

        work, layers, rate = self.work, [keras.Input((self.work.sizes[0],))], RATES
        for n in work.sizes[1:-1]:
            layers.append(keras.layers.Dense(n))
            layers += [keras.layers.BatchNormalization()] if work.batch_norm else []
            layers.append(keras.layers.ReLU())
            layers += [keras.layers.Dropout(work.dropout)] if work.dropout else []
        self.model = keras.Sequential([*layers, keras.layers.Dense(work.sizes[-1])])
        weights = iter(first_weights(work))
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Dense):
                layer.set_weights(list(next(weights)))
        optimizers = {
            "adam": lambda: keras.optimizers.Adam(rate["adam"]),
            "momentum": lambda: keras.optimizers.SGD(rate["momentum"], MOMENTUM),
        }
        self.model.compile(
            optimizer=optimizers[work.optimizer](),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def epoch(self) -> float:
        history = self.model.fit(
            self.x, self.y, batch_size=self.work.batch, epochs=1, verbose=0, shuffle=True
        )
        return float(history.history["loss"][0])


class Thinc(System):
    """Thinc on its NumPy operations, or those of BLAS where they are built in."""

    packages = ("thinc",)

    @classmethod
    def missing(cls, work: Work) -> str | None:
        return "no batch norm" if work.batch_norm else None

    def prepare(self) -> None:
        import thinc.api as thinc

        thinc.set_current_ops(thinc.get_ops("cpu"))
        work, rate = self.work, RATES[self.work.optimizer]
        layers = [thinc.Relu(n, dropout=work.dropout or None) for n in work.sizes[1:-1]]
        self.model = thinc.chain(*layers, thinc.Softmax(work.sizes[-1]))
        self.labels = np.eye(work.sizes[-1], dtype=np.float32)[self.y]
        self.model.initialize(X=self.x[:2], Y=self.labels[:2])
        for layer, (weight, bias) in zip(self.model.layers, first_weights(work)):
            layer.set_param("W", np.ascontiguousarray(weight.T))
            layer.set_param("b", bias)
        plain = {"L2": 0.0, "grad_clip": 0.0, "use_averages": False}
        if work.optimizer == "adam":
            self.optimizer = thinc.Adam(rate, **plain)
        else:  # it has no momentum: plain descent is less work
            self.optimizer = thinc.SGD(rate, **plain)

    def epoch(self) -> float:
        total, batches = 0.0, self.batches()
        for rows in batches:
            labels = self.labels[rows]
            guesses, backward = self.model.begin_update(self.x[rows])
            backward((guesses - labels) / len(rows))
            self.model.finish_update(self.optimizer)
            total -= float(np.log(np.maximum((guesses * labels).sum(1), 1e-30)).mean())
        return total / len(batches)


class Floor(System):
    """No system: the matrix products of an epoch alone, by NumPy, into memory that is there."""

    packages = ("numpy",)

    def prepare(self) -> None:
        self.weights = [w for w, _ in first_weights(self.work)]
        self.n_batches = -(-len(self.x) // self.work.batch)
        batch = min(self.work.batch, len(self.x))
        self.values = [np.ones((batch, n), np.float32) for n in self.work.sizes]
        self.outputs = [np.empty_like(one) for one in self.values]
        self.grads = [np.empty_like(w) for w in self.weights]

    def epoch(self) -> float:
        n_layers, values = len(self.weights), self.values
        for _ in range(self.n_batches):
            for i, w in enumerate(self.weights):
                np.matmul(values[i], w, out=self.outputs[i + 1])
            for i in range(n_layers - 1, -1, -1):
                np.matmul(values[i].T, values[i + 1], out=self.grads[i])
                if i:
                    np.matmul(values[i + 1], self.weights[i].T, out=self.outputs[i])
        return float("nan")


SYSTEMS: dict[str, type[System]] = {
    "ours, numpy": Ours,
    "ours, torch": OursTorch,
    "ours, jax": OursJax,
    "scikit-learn": Sklearn,
    "torch eager": Torch,
    "torch.compile": TorchCompiled,
    "JAX + Optax": Jax,
    "Keras on JAX": KerasJax,
    "Thinc": Thinc,
    "products alone": Floor,
}

warnings.filterwarnings("ignore")
