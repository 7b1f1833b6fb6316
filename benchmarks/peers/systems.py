"""The systems that are compared: each takes a row of the table and trains it, an epoch at a time.

Every class has the same form: ``packages`` names what computes, ``missing`` says what a system does
not have, and ``train`` trains as long as it is asked for another epoch. Each is written as its own
documentation advises for speed.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from peers import networks
from peers.work import MOMENTUM, RATES, Work, first_weights, order

Another = Callable[[float | None], bool]
"""Gets the loss of the last epoch, None before the first one; tells whether to train another."""


class System(ABC):
    """Trains one row of the table.

    Parameters
    ----------
    work : Work
    x, y : numpy.ndarray
    """

    packages: ClassVar[tuple[str, ...]]

    def __init__(self, work: Work, x: Any, y: Any) -> None:
        self.work, self.x, self.y = work, x, y
        self.prepare()

    @classmethod
    def missing(cls, work: Work) -> str | None:
        """Say what this system does not have of a row."""
        return None

    @abstractmethod
    def prepare(self) -> None:
        """Build the network and move the data."""

    @abstractmethod
    def train(self, another: Another) -> None:
        """Train as long as another epoch is asked for."""


def for_epochs(n: int) -> Another:
    """Ask for a number of epochs."""
    answers = iter([True] * n + [False])
    return lambda loss: next(answers)


class Ours(System):
    """`Model.fit`, held between epochs by a callback, on one of the backends."""

    packages = ("anyback_nn", "numpy")
    backend = "numpy"

    def prepare(self) -> None:
        import ours

        model = ours.model_of(self.work, self.backend)
        self.model = ours.with_weights(model, first_weights(self.work))

    def train(self, another: Another) -> None:
        import ours

        import anyback_nn as nn

        class Hold(nn.Callback):
            def on_train_begin(self, fit: Any) -> None:
                self.hold(fit, None)

            def on_epoch_end(self, fit: Any) -> None:
                self.hold(fit, fit.history.last["train_loss"])

            def hold(self, fit: Any, loss: float | None) -> None:
                if not another(loss):
                    fit.stop("no other epoch is asked for")

        self.model.fit(
            self.x,
            self.y,
            optimizer=ours.optimizer_of(self.work),
            epochs=10**6,
            batch_size=self.work.batch,
            callbacks=[Hold()],
            progress=False,
        )


class OursTorch(Ours):
    """Ours on PyTorch."""

    packages = ("anyback_nn", "torch")
    backend = "torch"


class OursTorchCuda(OursTorch):
    """Ours on PyTorch on a GPU."""

    backend = "torch:cuda"


class OursJax(Ours):
    """Ours on JAX."""

    packages = ("anyback_nn", "jax")
    backend = "jax"


class OursCupy(Ours):
    """Ours on CuPy."""

    packages = ("anyback_nn", "cupy-cuda12x", "cupy-cuda13x")
    backend = "cupy"


class Peer(System):
    """What trains one epoch when it is called."""

    epochs = 0

    @abstractmethod
    def epoch(self) -> float | None:
        """Train one epoch; give the mean loss of its batches."""

    def train(self, another: Another) -> None:
        loss = None
        while another(loss):
            loss = self.epoch()
            self.epochs += 1

    def batches(self) -> list[Any]:
        """Draw the batches of the next epoch."""
        return order(len(self.x), self.work.batch, self.epochs)


class Sklearn(Peer):
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
        )
        self.classes = np.unique(self.y)

    def epoch(self) -> float:
        # Each call starts from the random state again: without this, in the same order.
        self.mlp.random_state = self.epochs
        self.mlp.partial_fit(self.x, self.y, classes=self.classes)
        return float(self.mlp.loss_)


class Torch(Peer):
    """PyTorch, eager, with the fused optimiser."""

    packages = ("torch",)
    compiled = False
    device = "cpu"

    def prepare(self) -> None:
        import torch

        work = self.work
        model = networks.of_torch(first_weights(work), work.dropout, work.batch_norm)
        self.model = model.to(self.device)
        self.loss = torch.nn.CrossEntropyLoss()
        rate, parameters = RATES[work.optimizer], self.model.parameters()
        if work.optimizer == "adam":
            self.optimizer = torch.optim.Adam(parameters, rate, fused=True)
        else:
            self.optimizer = torch.optim.SGD(parameters, rate, momentum=MOMENTUM, fused=True)
        self.inputs = torch.from_numpy(self.x).to(self.device)
        self.targets = torch.from_numpy(self.y).long().to(self.device)
        self.forward = self.objective
        if self.compiled:
            # The last batch of an epoch may be smaller: it gets code of its own, and leaves that
            # of the others as it is.
            self.forward = torch.compile(self.objective, dynamic=False)

    def objective(self, x: Any, y: Any) -> Any:
        """Compute the loss of a batch."""
        return self.loss(self.model(x), y)

    def epoch(self) -> float:
        import torch

        total, batches = torch.zeros((), device=self.device), self.batches()
        # To the device at once: it would be waited for at each copy.
        rows = torch.from_numpy(np.concatenate(batches)).to(self.device)
        for chosen in rows.split(self.work.batch):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.forward(self.inputs[chosen], self.targets[chosen])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return float(total) / len(batches)


class TorchCuda(Torch):
    """PyTorch on a GPU, eager, with the fused optimiser, the data on the GPU."""

    device = "cuda"


class TorchCompiled(Torch):
    """PyTorch with ``torch.compile`` around the network and its loss."""

    compiled = True


class Jax(Peer):
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

        def step(carried: Any, x: Any, y: Any, rows: Any) -> Any:
            params, state, running, key = carried
            key, own = jax.random.split(key)
            derive = jax.value_and_grad(objective, has_aux=True)
            (loss, running), grads = derive(params, running, own, x[rows], y[rows])
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state, running, key), loss

        def steps(carried: Any, x: Any, y: Any, batches: Any) -> Any:
            return jax.lax.scan(lambda carried, rows: step(carried, x, y, rows), carried, batches)

        self.state = (params, optimizer.init(params), running, jax.random.key(0))
        self.step, self.steps = (jax.jit(one, donate_argnums=0) for one in (step, steps))

    def epoch(self) -> float:
        losses = []
        for rows in self.batches():
            self.state, loss = self.step(self.state, self.inputs, self.targets, rows)
            losses.append(loss)
        return float(np.mean([float(loss) for loss in losses]))


class JaxScan(Jax):
    """JAX with Optax: the steps of an epoch in one jitted ``lax.scan``, a smaller batch alone."""

    def epoch(self) -> float:
        batches, data = self.batches(), (self.inputs, self.targets)
        whole = [rows for rows in batches if len(rows) == len(batches[0])]
        self.state, found = self.steps(self.state, *data, np.stack(whole))
        losses = list(np.asarray(found))
        for rows in batches[len(whole) :]:
            self.state, loss = self.step(self.state, *data, rows)
            losses.append(float(loss))
        return float(np.mean(losses))


def _norm(work: Work, n: int, jnp: Any) -> dict[str, Any]:
    """Make the parameters of batch normalisation."""
    if not work.batch_norm or n == work.sizes[-1]:
        return {}
    return {"scale": jnp.ones(n), "shift": jnp.zeros(n)}


class KerasJax(Peer):
    """Keras on JAX: ``fit``, an epoch a call."""

    packages = ("keras", "jax")

    def prepare(self) -> None:
        work, rate = self.work, RATES
        self.model = networks.of_keras(first_weights(work), work.dropout, work.batch_norm)
        import keras

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


class Thinc(Peer):
    """Thinc on its NumPy operations, or those of BLAS where they are built in."""

    packages = ("thinc",)

    @classmethod
    def missing(cls, work: Work) -> str | None:
        return "no batch norm" if work.batch_norm else None

    def prepare(self) -> None:
        import thinc.api as thinc

        work, rate = self.work, RATES[self.work.optimizer]
        self.model = networks.of_thinc(first_weights(work), work.dropout)
        self.labels = np.eye(work.sizes[-1], dtype=np.float32)[self.y]
        plain: dict[str, Any] = {"L2": 0.0, "grad_clip": 0.0, "use_averages": False}
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


class Floor(Peer):
    """No system: the matrix products of an epoch alone, by NumPy, into memory that is there."""

    packages = ("numpy",)

    def prepare(self) -> None:
        self.weights = [w for w, _ in first_weights(self.work)]
        self.n_batches = -(-len(self.x) // self.work.batch)
        batch = min(self.work.batch, len(self.x))
        self.values = [np.ones((batch, n), np.float32) for n in self.work.sizes]
        self.outputs = [np.empty_like(one) for one in self.values]
        self.grads = [np.empty_like(w) for w in self.weights]

    def epoch(self) -> None:
        n_layers, values = len(self.weights), self.values
        for _ in range(self.n_batches):
            for i, w in enumerate(self.weights):
                np.matmul(values[i], w, out=self.outputs[i + 1])
            for i in range(n_layers - 1, -1, -1):
                np.matmul(values[i].T, values[i + 1], out=self.grads[i])
                if i:
                    np.matmul(values[i + 1], self.weights[i].T, out=self.outputs[i])


FLOOR = "products alone"
SYSTEMS: dict[str, type[System]] = {
    "ours, numpy": Ours,
    "ours, torch": OursTorch,
    "ours, jax": OursJax,
    "scikit-learn": Sklearn,
    "torch eager": Torch,
    "torch.compile": TorchCompiled,
    "JAX + Optax": Jax,
    "JAX + Optax, scan": JaxScan,
    "Keras on JAX": KerasJax,
    "Thinc": Thinc,
    FLOOR: Floor,
    "ours, cupy": OursCupy,
    "ours, torch:cuda": OursTorchCuda,
    "torch:cuda eager": TorchCuda,
}
ON_GPU = ("ours, cupy", "ours, torch:cuda", "torch:cuda eager")
"""Those that need a GPU. Those of JAX use one where it is usable."""

warnings.filterwarnings("ignore")
