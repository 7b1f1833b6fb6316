"""Trainings that a process takes alone, and that ranks take together; each is a function below.

As a program, every rank takes all of them, which saves the start of a process for each:

    mpiexec -n 2 python tests/distributed/ranks_cases.py FOLDER numpy,torch every

Rank 0 writes what it ends with, and each rank its checksums and how wrong calls were refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array
from sklearn.metrics import log_loss, roc_auc_score

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.sklearn import MLPClassifier, MLPRegressor
from anyback_nn.tree import tree_named_leaves

HUNDRED = {"batch_size": 32, "epochs": 20}
"""A hundred steps: an epoch of the 130 rows below has four batches, and one of two rows."""

TWENTY = {"batch_size": 32, "epochs": 4}
"""Twenty steps, for what does not add up over more of them."""


@dataclass(frozen=True)
class Run:
    """Where a case is computed, and with whom."""

    spec: str
    dtype: str
    ranks: nn.distributed.Communicator
    folder: Path

    def model(self, *layers: nn.Layer, **settings: Any) -> nn.Model:
        """Create a model."""
        settings = {"loss": "softmax_cross_entropy", "backend": self.spec, **settings}
        return nn.Model(*layers, dtype=self.dtype, seed=3, **settings)

    def fit(self, model: nn.Model, *data: Any, **settings: Any) -> None:
        """Train a model."""
        model.fit(*data, **TWENTY | settings, distributed=self.ranks)

    def describe(self, model: nn.Model, x: Any, *more: Any, **weights: Any) -> dict[str, Any]:
        """Return what a model has learned, and what it computes for data."""
        scores = model.evaluate(x, *more, **weights, distributed=self.ranks)
        return {
            **describe_training(model),
            **{f"evaluate {name}": np.asarray(value) for name, value in scores.items()},
            "predict": to_numpy(model.predict(x, batch_size=65, distributed=self.ranks)),
            "predict one row": to_numpy(model.predict(x[:1], distributed=self.ranks)),
        }

    def estimator(self, kind: Any, **settings: Any) -> Any:
        """Create an estimator."""
        options = {"backend": self.spec, "dtype": self.dtype, "distributed": self.ranks}
        options |= {"hidden_layer_sizes": (9,), "activation": "tanh", "max_iter": 20}
        return kind(**{**options, "batch_size": 32, "random_state": 0, **settings})


def describe_training(model: nn.Model) -> dict[str, Any]:
    """Return the parameters, the statistics of layers and the history of a model."""
    state, rows = model.training.state, model.history.rows
    names = [name for name in rows[-1] if name != "seconds"]
    return {
        **{f"params{name}": to_numpy(x) for name, x in tree_named_leaves(model.params).items()},
        **{f"state{name}": to_numpy(x) for name, x in tree_named_leaves(state).items()},
        **{f"history {name}": np.asarray([row[name] for row in rows]) for name in names},
    }


def describe_estimator(mlp: Any, x: Any) -> dict[str, Any]:
    """Return what an estimator has learned, and what it predicts."""
    predict = getattr(mlp, "predict_proba", mlp.predict)
    return {**describe_training(mlp.model_), "n_iter": np.asarray(mlp.n_iter_), "y": predict(x)}


# Data --------------------------------------------------------------------------------------------


def draw_classes(n_samples: int = 130, n_classes: int = 3) -> tuple[Any, Any]:
    """Draw points with a class each, which a network does not learn without errors."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(n_samples, 6))
    scores = np.tanh(x @ rng.normal(size=(6, n_classes))) + 0.4 * rng.normal(size=(1, n_classes))
    return x, np.argmax(scores + 0.3 * rng.normal(size=scores.shape), axis=1)


def draw_values(n_samples: int = 130) -> tuple[Any, Any]:
    """Draw points with two values each."""
    x, _ = draw_classes(n_samples)
    return x, np.stack([np.sin(x[:, 0]) + x[:, 1], x[:, 2] * x[:, 3]], axis=1)


def draw_weights(n_samples: int = 130) -> Any:
    """Draw weights of samples, some of them 0."""
    rng = np.random.default_rng(6)
    return rng.uniform(0.1, 3.0, n_samples) * (rng.uniform(size=n_samples) < 0.8)


def write_files(folder: Path) -> None:
    """Write the data that some cases read from files."""
    x, y = draw_classes()
    np.save(folder / "x.npy", x)
    columns = {f"x{i}": x[:, i] for i in range(x.shape[1])}
    pl.DataFrame({**columns, "y": y}).write_parquet(folder / "rows.parquet", row_group_size=40)


# Parts of a user's own ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Center(nn.Layer):
    """Subtracts the mean of each feature over the batch, and a running one in prediction."""

    mixes_samples = True

    def init_state(self, n_in: int, draws: Any) -> Any:
        return {"mean": draws.full((n_in,), 0.0)}

    def next_state(self, state: Any, cache: Any) -> Any:
        return {"mean": 0.8 * state["mean"] + 0.2 * cache[0][0, :]}

    def forward(self, params: Any, x: Any, context: nn.Context = nn.PREDICTION) -> Any:
        if not context.training:
            return x - context.state["mean"], None
        mean = nn.batch_mean(x, context.batch)
        return x - mean, (mean, context.batch)

    def backward(self, params: Any, cache: Any, dy: Any) -> Any:
        return dy if cache is None else dy - nn.batch_mean(dy, cache[1]), {}


@dataclass(frozen=True)
class Jitter(nn.Layer):
    """Adds noise to each sample in training."""

    def noise(self, shape: tuple[int, ...], draws: Any) -> Any:
        return draws.normal(shape, std=0.1), draws.uniform(shape, limit=0.1)

    def forward(self, params: Any, x: Any, context: nn.Context = nn.PREDICTION) -> Any:
        return (x + context.noise[0] + context.noise[1] if context.training else x), None

    def backward(self, params: Any, cache: Any, dy: Any) -> Any:
        return dy, {}


@dataclass(frozen=True)
class Counter(nn.Layer):
    """Has a state, and does not say that it is the same on all ranks."""

    def init_state(self, n_in: int, draws: Any) -> Any:
        return {"sum": draws.full((n_in,), 0.0)}

    def next_state(self, state: Any, cache: Any) -> Any:
        return {"sum": state["sum"] + cache}

    def forward(self, params: Any, x: Any, context: nn.Context = nn.PREDICTION) -> Any:
        return x, nn.array_namespace(x).sum(x, axis=0)

    def backward(self, params: Any, cache: Any, dy: Any) -> Any:
        return dy, {}


@dataclass(frozen=True)
class FourthPower(nn.Loss):
    """``mean_j (o_j - t_j)^4``."""

    def forward(self, outputs: Any, targets: Any) -> Any:
        error = outputs - targets
        return nn.array_namespace(error).mean(error**4, axis=-1), error

    def backward(self, cache: Any, dvalues: Any) -> Any:
        return 4.0 * cache**3 * (dvalues[..., None] / cache.shape[-1])


@dataclass(frozen=True)
class Decayed(nn.Optimizer):
    """``v = v / 2 + g``, then ``p -= rate v``."""

    learning_rate: float = 0.05
    slots = ("velocity",)

    def rule(self, p: Any, g: Any, state: Any, *coefficients: float) -> Any:
        (velocity,), (rate,) = state, coefficients
        velocity *= 0.5
        velocity += g
        p -= rate * velocity
        return p, (velocity,)


def largest_error(loss: nn.Loss, outputs: Any, targets: Any) -> Any:
    """Measure the largest error of each sample."""
    xp = nn.array_namespace(outputs)
    return xp.max(xp.abs(outputs - targets), axis=-1)


class StopAt(nn.Callback):
    """Ends training after a batch or an epoch, on all ranks or by a callback of one."""

    def __init__(self, number: int, rank: int | None = None, epochs: bool = False) -> None:
        self.number, self.rank, self.epochs = number, rank, epochs

    def stop(self, fit: Any, number: int) -> None:
        is_meant = self.rank is None or fit.ranks.rank == self.rank % fit.ranks.size
        if is_meant and number == self.number:
            fit.stop("enough")

    def on_batch_end(self, fit: Any) -> None:
        if not self.epochs:
            self.stop(fit, fit.model.training.step)

    def on_epoch_end(self, fit: Any) -> None:
        if self.epochs:
            self.stop(fit, fit.epoch)


# Cases -------------------------------------------------------------------------------------------

CASES: dict[str, Callable[[Run], dict[str, Any]]] = {}
"""Each returns arrays by name."""


def case(function: Callable[..., Any], *arguments: Any, name: str = "") -> Callable[..., Any]:
    """Add a function with its further arguments to the table of cases."""
    CASES[name or function.__name__] = partial(function, *arguments)
    return function


@case
def everything_at_once(run: Run) -> dict[str, Any]:
    (x, y), stopping = draw_classes(), nn.EarlyStopping(8)
    model = run.model(
        nn.Dense(7, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Dense(3)
    )
    run.fit(
        *(model, x, y),
        sample_weight=draw_weights(),
        validation=0.2,
        optimizer=nn.Adam(0.03, clip_norm=0.7),
        callbacks=[stopping],
        **{**HUNDRED, "epochs": 40},
    )
    assert 100 <= model.training.step < 160  # it has stopped
    return {**run.describe(model, x, y), "best epoch": np.asarray(stopping.best_epoch)}


@case
def layers_of_all_kinds(run: Run) -> dict[str, Any]:
    # 141 rows to train on: in a last batch of two rows the gradients before a BatchNorm would be
    # rounding alone, which differs as much between libraries.
    x, y = draw_classes(188)
    model = run.model(
        # No bias before a normalisation, which takes it away again: its gradient is rounding alone.
        *(nn.Dense(11, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3)),
        nn.Residual(nn.Dense(7), nn.Tanh(), nn.Dropout(0.2), nn.Dense(11)),
        *(nn.Dense(13, bias=False), nn.LayerNorm(), nn.Tanh(), nn.BatchNorm(momentum=0.5)),
        *(nn.Dropout(0.1), nn.Dense(3)),
    )
    run.fit(model, x, y, optimizer=nn.Adam(0.003, l2=1e-3), validation=0.25, **HUNDRED)
    return run.describe(model, x, y)


@case
def a_last_batch_of_one_row(run: Run) -> dict[str, Any]:
    x, y = draw_classes(129)
    model = run.model(nn.Dense(8, bias=False), nn.BatchNorm(), nn.Dropout(0.4), nn.Dense(3))
    run.fit(model, x, y, optimizer=nn.Momentum(0.05, clip_norm=0.6), shuffle=False, **HUNDRED)
    return run.describe(model, x, y)


@case
def masks_from_the_device(run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    backend = nn.select(run.spec, masks_on_device=True)
    model = run.model(
        *(nn.Dropout(0.2), nn.Dense(13), nn.Tanh(), nn.Dropout(0.3), nn.Dense(3)), backend=backend
    )
    run.fit(model, x, y, optimizer="nesterov", **HUNDRED)
    return run.describe(model, x, y)


@case
def all_activations(run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    blocks = [nn.Residual(nn.Dense(6), kind(), nn.Dense(6)) for kind in nn.ACTIVATIONS.values()]
    model = run.model(*blocks, nn.Dense(3))
    run.fit(model, x, y, optimizer=nn.GradientDescent(0.02))
    return run.describe(model, x, y)


def an_optimizer(kind: Any, run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    model = run.model(nn.Dense(9), nn.Tanh(), nn.Dropout(0.2), nn.Dense(3))
    rule = kind(0.005, l1=1e-4, l2=1e-3, penalize_all=True, clip_value=0.02, clip_norm=0.165)
    run.fit(model, x, y, optimizer=rule, **HUNDRED)
    return run.describe(model, x, y)


for kind in nn.OPTIMIZERS.values():
    case(an_optimizer, kind, name=f"optimizer {kind.__name__}")


def a_loss(kind: Any, run: Run) -> dict[str, Any]:
    x, y = draw_classes(n_classes=2)
    targets = np.stack([y, x[:, 0] > 0.3], axis=1).astype(float)
    layers: list[nn.Layer] = [nn.Dense(5), nn.Tanh(), nn.Dense(2)]
    if kind is nn.ProbabilityCrossEntropy:
        layers.append(nn.Sigmoid())
    if kind is nn.KnownTargets:
        loss = kind(nn.BinaryCrossEntropy())
        targets[::3, 1] = np.nan
    else:
        loss = kind()
    if kind is nn.SoftmaxCrossEntropy:
        targets = y
    model = run.model(*layers, loss=loss)
    run.fit(model, x, targets, optimizer=nn.GradientDescent(0.1))
    described = run.describe(model, x, targets)
    if loss.classifies:
        described["classes"] = to_numpy(model.predict_classes(x, distributed=run.ranks))
    return described


for kind in (*nn.LOSSES.values(), nn.KnownTargets):
    case(a_loss, kind, name=f"loss {kind.__name__}")


@case
def weights_and_early_stopping(run: Run) -> dict[str, Any]:
    (x, y), weights = draw_classes(), draw_weights()
    held, (seen, known) = slice(100, None), (x[:100], y[:100])
    model = run.model(nn.Dense(20), nn.Tanh(), nn.Dropout(0.1), nn.Dense(3))
    stopping = nn.EarlyStopping(3)
    run.fit(
        *(model, seen, known),
        sample_weight=weights[:100],
        class_weight="balanced",
        validation=(x[held], y[held], weights[held]),
        batch_size=33,
        optimizer=nn.Adam(0.03),
        epochs=60,
        callbacks=[stopping],
    )
    assert 3 < len(model.history) < 60  # it has stopped
    best = {"best epoch": np.asarray(stopping.best_epoch)}
    return {**run.describe(model, x, y, sample_weight=weights), **best}


@case
def batches_of_an_iterable(run: Run) -> dict[str, Any]:
    (x, y), weights, bounds = draw_classes(), draw_weights() + 0.1, [0, 40, 41, 44, 60, 61, 130]
    parts = [slice(*pair) for pair in pairwise(bounds)]
    batches = [(x[part], y[part], weights[part]) for part in parts]
    model = run.model(nn.Dense(9), nn.ReLU(), nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(3))
    run.fit(model, batches, optimizer=nn.RMSProp(0.002), validation=(x[:50], y[:50]), epochs=20)
    scores = model.evaluate(batches, distributed=run.ranks)
    return {**describe_training(model), **{name: np.asarray(x) for name, x in scores.items()}}


@case
def all_rows_at_once(run: Run) -> dict[str, Any]:
    x, y = draw_values()
    model = run.model(nn.Dense(12), nn.SiLU(), nn.Dense(2), loss=nn.Huber())
    run.fit(model, x, y, optimizer=nn.Nesterov(0.05), batch_size=None, validation=0.2, epochs=100)
    described = run.describe(model, x, y)
    assert "evaluate r2" in described
    return described


@case
def metrics_of_all_rows(run: Run) -> dict[str, Any]:
    (x, y), weights = draw_classes(n_classes=2), draw_weights()
    metrics = ["accuracy", nn.EpochMetric(roc_auc_score), nn.EpochMetric(log_loss, name="log")]
    model = run.model(nn.Dense(8), nn.GELU(), nn.Dense(2), metrics=metrics)
    run.fit(model, x, y, sample_weight=weights, validation=0.3, optimizer=nn.Adam(0.01))
    return run.describe(model, x, y)


@case
def several_calls(run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    model = run.model(nn.Dense(9), nn.Tanh(), nn.Dropout(0.3), nn.Dense(3))
    data = {"validation": (x[90:], y[90:])}
    run.fit(model, x, y, optimizer=nn.Adam(0.02), schedule="cosine", epochs=4, **data)
    plateau = nn.ReduceOnPlateau(0.05, factor=0.3, patience=1, min_delta=0.05)
    run.fit(model, x, y, optimizer=nn.Momentum(plateau), epochs=12, batch_size=50, **data)
    assert len({*model.history["learning_rate"][4:]}) > 1  # it was reduced
    run.fit(model, x, y, epochs=2, **data)
    run.fit(model, x, y, optimizer=nn.Adam(nn.CosineDecay(0.01, 3, warmup=1)), epochs=2, **data)
    return run.describe(model, x, y)


def a_callback_that_stops(rank: int | None, run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    model = run.model(nn.Dense(9), nn.Tanh(), nn.Dropout(0.3), nn.Dense(3))
    run.fit(model, x, y, optimizer=nn.Adam(0.01), callbacks=[StopAt(17, rank)], epochs=9)
    assert model.training.step == 17
    return run.describe(model, x, y)


case(a_callback_that_stops, None, name="a callback that stops")
case(a_callback_that_stops, -1, name="a callback of the last rank that stops")


@case
def parts_of_a_user(run: Run) -> dict[str, Any]:
    x, y = draw_values()
    layers = (nn.Dense(9, bias=False), Center(), nn.Tanh(), Jitter(), nn.Dense(2))
    model = run.model(*layers, loss=FourthPower(), metrics=[largest_error])
    run.fit(model, x, y, optimizer=Decayed(0.01, clip_norm=1.0), validation=0.2)
    return run.describe(model, x, y)


@case
def a_memory_map(run: Run) -> dict[str, Any]:
    _, y = draw_classes()
    x = np.load(run.folder / "x.npy", mmap_mode="r")
    model = run.model(nn.Dense(9), nn.ReLU(), nn.Dropout(0.3), nn.Dense(3))
    run.fit(model, x, y, optimizer=nn.Adam(0.003), validation=0.2)
    return run.describe(model, x, y)


@case
def a_parquet_file(run: Run) -> dict[str, Any]:
    batches = nn.datasets.parquet_batches(run.folder / "rows.parquet", "y", buffer=50)
    model = run.model(nn.Dense(9), nn.Tanh(), nn.Dropout(0.3), nn.Dense(3))
    run.fit(model, batches, optimizer=nn.Adam(0.01))
    return describe_training(model)


@case
def a_divergence_that_is_rolled_back(run: Run) -> dict[str, Any]:
    x, y = draw_values()
    model = run.model(nn.Dense(9), nn.ReLU(), nn.Dense(2), loss="mean_squared_error")
    rule = nn.GradientDescent(20.0)
    run.fit(model, x, y, optimizer=rule, epochs=3, on_divergence="rollback", batch_size=40)
    assert model.history["learning_rate"][-1] < 2.0
    return describe_training(model)


@case
def resumed_from_a_checkpoint(run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    folder = run.folder / f"{run.ranks.size} {run.spec} {run.dtype}"
    for epochs in (2, 5):
        model = run.model(nn.Dense(9), nn.Tanh(), nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(3))
        callbacks = [nn.EarlyStopping(50), nn.Checkpoint(folder, every="1 epoch")]
        rule, data = nn.Adam(0.003), {"validation": 0.2, "resume": True}
        run.fit(model, x, y, optimizer=rule, epochs=epochs, callbacks=callbacks, **data)
    return run.describe(model, x, y)


def in_half_precision(compute_dtype: str, run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    norm = nn.BatchNorm() if compute_dtype == "bfloat16" else nn.LayerNorm()
    layers = (nn.Dense(9), nn.Tanh(), norm, nn.Dropout(0.3), nn.Dense(3))
    model = run.model(*layers, compute_dtype=compute_dtype)
    run.fit(model, x, y, optimizer=nn.Momentum(0.02, clip_norm=1.0))
    return run.describe(model, x, y)


for name in ("float16", "bfloat16"):
    case(in_half_precision, name, name=name)


def an_estimator(kind: Any, settings: dict[str, Any], run: Run) -> dict[str, Any]:
    x, y = draw_values() if kind is MLPRegressor else draw_classes()
    weights = settings.pop("sample_weight", None) if (settings := {**settings}) else None
    mlp = run.estimator(kind, **settings)
    return describe_estimator(mlp.fit(x, y, sample_weight=weights), x)


SGD = {"solver": "sgd", "learning_rate_init": 0.05}
for name, kind, settings in (
    ("sgd", MLPClassifier, {**SGD, "learning_rate": "invscaling", "alpha": 0.01}),
    ("sgd that adapts", MLPRegressor, {**SGD, "learning_rate": "adaptive", "tol": 0.05}),
    ("adam", MLPRegressor, {"sample_weight": draw_weights(), "l2_per_sample": 1e-3}),
    ("averages", MLPClassifier, {"average_weights": 0.9, "clip_norm": 0.2, "dropout": 0.2}),
    (
        "batch_norm",
        MLPClassifier,
        {**SGD, "batch_norm": True, "class_weight": "balanced", "batch_size": 40},
    ),
    ("early stopping", MLPClassifier, {"early_stopping": True, "n_iter_no_change": 3}),
    (
        "early stopping by a metric",
        MLPClassifier,
        {
            "validation_data": draw_classes(40),
            "early_stopping": True,
            "early_stopping_metric": "neg_log_loss",
            "sample_weight": draw_weights(),
            "optimizer": nn.Nesterov(0.1),
        },
    ),
    ("lbfgs", MLPClassifier, {"solver": "lbfgs", "alpha": 0.1, "sample_weight": draw_weights()}),
    ("lbfgs of values", MLPRegressor, {"solver": "lbfgs", "alpha": 0.1}),
):
    case(an_estimator, kind, settings, name=f"estimator: {name}")


@case
def lbfgs_that_a_callback_of_the_last_rank_stops(run: Run) -> dict[str, Any]:
    x, y = draw_values()
    stopping = StopAt(3, -1, epochs=True)
    mlp = run.estimator(MLPRegressor, solver="lbfgs", callbacks=[stopping])
    described = describe_estimator(mlp.fit(x, y), x)
    assert mlp.n_iter_ == 3
    return described


@case
def an_estimator_in_parts(run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    mlp = run.estimator(MLPClassifier, average_weights=0.8, learning_rate_init=0.01)
    for start in range(0, 130, 43):
        part = slice(start, start + 43)
        mlp.partial_fit(x[part], y[part], classes=[0, 1, 2])
    return describe_estimator(mlp, x)


@case
def an_estimator_of_sparse_rows(run: Run) -> dict[str, Any]:
    x, y = draw_classes()
    rows = csr_array(np.where(np.abs(x) > 0.8, x, 0.0))
    return describe_estimator(run.estimator(MLPClassifier, **SGD).fit(rows, y), rows)


# What is refused ---------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[Callable[..., Any], str]] = {}
"""Calls that are refused on every rank, and the kind of error; they must not wait for ever."""


def refused(error: str) -> Callable[..., Any]:
    """Add a call that raises this error."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        REFUSALS[function.__name__] = (function, error)
        return function

    return add


def small(run: Run, **settings: Any) -> nn.Model:
    """Create a model that is soon trained."""
    return replace(run, spec="numpy", dtype="float32").model(nn.Dense(3), **settings)


@refused("AnybackError")
def other_data(run: Run) -> None:
    x, y = draw_classes()
    run.fit(small(run), x + (run.ranks.rank == run.ranks.size - 1), y)


@refused("AnybackError")
def other_weights_of_samples(run: Run) -> None:
    x, y = draw_classes()
    weights = np.ones(len(x))
    weights[run.ranks.rank] = 2.0
    run.fit(small(run), x, y, sample_weight=weights)


@refused("AnybackError")
def fewer_rows(run: Run) -> None:
    x, y = draw_classes(130 - run.ranks.rank)
    run.fit(small(run), x, y)


@refused("AnybackError")
def other_seeds(run: Run) -> None:
    x, y = draw_classes()
    model = nn.Model(nn.Dense(3), loss="softmax_cross_entropy", seed=run.ranks.rank)
    run.fit(model, x, y)


@refused("AnybackError")
def other_epochs(run: Run) -> None:
    run.fit(small(run), *draw_classes(), epochs=1 + run.ranks.rank)


@refused("AnybackError")
def another_seed_of_the_same_parameters(run: Run) -> None:
    x, y = draw_classes()
    layer = nn.Dense(3, initializer=nn.Zeros())
    model = nn.Model(layer, loss="softmax_cross_entropy", seed=run.ranks.rank)
    run.fit(model, x, y)


@refused("AnybackError")
def another_batch_size(run: Run) -> None:
    x, y = draw_classes(60)
    run.fit(small(run), x, y, batch_size=30 + run.ranks.rank)


@refused("AnybackError")
def other_validation_data(run: Run) -> None:
    x, y = draw_classes()
    run.fit(small(run), x, y, validation=(x[run.ranks.rank :], y[run.ranks.rank :]))


@refused("AnybackError")
def a_callback_of_one_rank(run: Run) -> None:
    x, y = draw_classes()
    run.fit(small(run), x, y, callbacks=[StopAt(7)] if run.ranks.rank == 0 else [])


@refused("ValueError")
def a_layer_with_a_state(run: Run) -> None:
    x, y = draw_classes()
    model = nn.Model(Counter(), nn.Dense(3), loss="softmax_cross_entropy")
    run.fit(model, x, y)


def random_state_of_the_process(run: Run, solver: str) -> None:
    x, y = draw_classes()
    np.random.seed(run.ranks.rank)  # noqa: NPY002 - what scikit-learn draws from
    settings = {"solver": solver, "random_state": None, "max_iter": 30}
    replace(run, spec="numpy", dtype="float64").estimator(MLPClassifier, **settings).fit(x, y)


@refused("ValueError: distributed: expected random_state")
def adam_without_a_seed(run: Run) -> None:
    random_state_of_the_process(run, "adam")


@refused("ValueError: distributed: expected random_state")
def lbfgs_without_a_seed(run: Run) -> None:
    random_state_of_the_process(run, "lbfgs")


# The program -------------------------------------------------------------------------------------


FEWER = {
    "numpy": (
        *("everything_at_once", "layers_of_all_kinds", "a_last_batch_of_one_row"),
        *("weights_and_early_stopping", "batches_of_an_iterable", "all_rows_at_once"),
        *("metrics_of_all_rows", "parts_of_a_user", "a callback of the last rank that stops"),
        *("resumed_from_a_checkpoint", "estimator: adam", "estimator: lbfgs"),
        "lbfgs_that_a_callback_of_the_last_rank_stops",
    ),
    "torch": (
        *("everything_at_once", "layers_of_all_kinds", "a_last_batch_of_one_row"),
        *("masks_from_the_device", "weights_and_early_stopping", "batches_of_an_iterable"),
        *("all_rows_at_once", "parts_of_a_user", "a_memory_map", "float16", "bfloat16"),
        *("estimator: adam", "estimator: averages", "estimator: lbfgs"),
    ),
    "jax": (
        *("everything_at_once", "float16", "weights_and_early_stopping"),
        *("estimator: adam", "estimator: lbfgs of values"),
    ),
}
"""The cases that are enough where a step takes long."""


def list_cases(spec: str, every: bool) -> list[tuple[str, str]]:
    """Return the names of the cases on a backend, each with a dtype: of a whole launch, or fewer.

    Fewer are those of NumPy above, and the first of other libraries.
    """
    half, names = ("float16", "bfloat16"), list(FEWER[spec])
    if every and spec == "numpy":
        names = [name for name in CASES if name not in half]
    if not every and spec != "numpy":
        names = names[:1]
    dtypes = ("float32", "float64")
    return [(name, dtype) for name in names for dtype in dtypes[: 1 if name in half else 2]]


def take(name: str, run: Run) -> dict[str, Any]:
    """Compute a case."""
    with warnings.catch_warnings():
        # Of training that is short, and that diverges on purpose.
        warnings.simplefilter("ignore")
        return CASES[name](run)


def try_wrong_call(name: str, run: Run) -> str:
    """Return the error of a call that is refused."""
    try:
        REFUSALS[name][0](run)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def main(folder: Path, specs: list[str], every: bool) -> None:
    ranks = nn.distributed.init()
    results, checksums = {}, {}
    for spec in specs:
        for name, dtype in list_cases(spec, every):
            key = f"{spec}/{dtype}/{name}"
            if ranks.rank == 0:
                print(f"{time.process_time():6.1f} {key}", file=sys.stderr, flush=True)
            arrays = take(name, Run(spec, dtype, ranks, folder))
            contents = b"".join(np.ascontiguousarray(x).tobytes() for x in arrays.values())
            checksums[key] = hashlib.sha256(contents).hexdigest()
            results |= {f"{key}/{part}": array for part, array in arrays.items()}
    if ranks.rank == 0:
        np.savez(folder / "results.npz", **results)
    refusals = {}
    if ranks.size > 1:
        for name in REFUSALS:
            print(f"rank {ranks.rank}: {name}", file=sys.stderr, flush=True)
            refusals[name] = try_wrong_call(name, Run("numpy", "float32", ranks, folder))
    report = {"size": ranks.size, "kind": type(ranks).__name__, "checksums": checksums}
    report["refusals"] = refusals
    (folder / f"rank-{ranks.rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), every=sys.argv[3] == "every")
