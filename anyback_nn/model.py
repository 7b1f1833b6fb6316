"""The model: a network with its parameters on a backend."""

from __future__ import annotations

import contextlib
import copy
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.backends import Backend, select
from anyback_nn.errors import (
    AnybackError,
    BackendUnavailableError,
    CheckpointError,
    DivergenceError,
)
from anyback_nn.inputs import checks
from anyback_nn.inputs.batches import (
    ArraySource,
    Batch,
    IterableSource,
    Source,
    array_source,
    move,
    peek,
    split,
)
from anyback_nn.inputs.sample_weights import mean_one, training_weights
from anyback_nn.network.activations import Sigmoid, Softmax
from anyback_nn.network.layer import Layer
from anyback_nn.network.layout import Layout
from anyback_nn.network.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy
from anyback_nn.network.network import Network
from anyback_nn.optim.optimizers import Adam, Optimizer
from anyback_nn.random import Random, Zeros, generator
from anyback_nn.training import checkpoint, loop
from anyback_nn.training.callbacks import Callback, ProgressBar, check_callbacks
from anyback_nn.training.history import History
from anyback_nn.training.metrics import Metric, default_metrics
from anyback_nn.training.mixed_precision import (
    LOSS_SCALE,
    LossScaling,
    mixed_step,
    needs_scale,
    with_scale,
)
from anyback_nn.training.out_of_memory import explain_building, explain_setup, has_room
from anyback_nn.training.state import TrainingState
from anyback_nn.training.step import step_on_rows, training_step
from anyback_nn.tree import tree_copy, tree_map, tree_named_leaves
from anyback_nn.utils.arguments import as_integer, to_python_scalars

__all__ = ["LayerSummary", "Model"]


class LayerSummary(NamedTuple):
    """One row of `Model.summary`."""

    layer: str
    output_shape: tuple[None, int]
    parameters: int


@lru_cache(maxsize=64)
def _compiled(*architecture: Any) -> dict[Any, Callable[..., Any]]:
    """Keep the compiled computations of one architecture on one backend."""
    return {}


class Model:
    """A network that can be trained, on any backend.

    Parameters
    ----------
    *layers : Layer
        In the order of the computation, without the input. The last one gives raw outputs, such
        as logits: the loss knows how to read them.
    loss : Loss
        What is minimised.
    backend : str or Backend, optional
        Where to compute: ``"numpy"``, ``"cupy"``, ``"cupy:1"``, ``"torch"``, ``"torch:cuda:0"``,
        ``"jax"``, ``"array-api-strict"``. Default: the environment variable
        ``ANYBACK_NN_BACKEND``, and where that is not set, ``"numpy"``.
    seed : int
        Fixes the initial weights, the order of the samples and the dropout masks, for all
        backends alike.
    dtype : str
        ``"float32"`` or ``"float64"``, of the parameters and of all computation.
    compute_dtype : str, optional
        ``"float16"`` or ``"bfloat16"``: what steps of training compute in, forward and backward,
        while parameters, optimiser, loss and reports stay in float32, see
        `anyback_nn.training.mixed_precision`. PyTorch and JAX have both, CuPy and NumPy float16.
        It is for GPUs (untested on one); on CPUs it is slower, above all with NumPy. Default:
        they compute in ``dtype``.
    metrics : sequence of callable, optional
        What is recorded beside the loss, see `anyback_nn.training.metrics`. Default: accuracy for
        a loss that classifies, else the absolute error.

    Attributes
    ----------
    training : TrainingState
        Parameters, optimiser state and history.
    encoding : dict, optional
        How raw data become inputs, as plain JSON; saved with the model and not otherwise used.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(200, noise=0.1, seed=0)
    >>> model = nn.Model(nn.Dense(16), nn.Tanh(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> history = model.fit(x, y, optimizer=nn.Adam(0.01), epochs=60, batch_size=20)
    >>> model.evaluate(x, y)["accuracy"] > 0.95
    True
    >>> model.predict(x).shape
    (200, 2)
    """

    def __init__(
        self,
        *layers: Layer,
        loss: Loss,
        backend: str | Backend | None = None,
        seed: int = 0,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        metrics: Sequence[Metric] | None = None,
    ) -> None:
        if not isinstance(loss, Loss):
            hint = f". Write {loss.__name__}()" if isinstance(loss, type) else ""
            raise TypeError(f"expected loss to be a Loss, got {loss!r}{hint}")
        for one, output, instead in (
            (SoftmaxCrossEntropy, Softmax, ""),
            (BinaryCrossEntropy, Sigmoid, ", or use ProbabilityCrossEntropy"),
        ):
            if isinstance(loss, one) and layers and isinstance(layers[-1], output):
                raise ValueError(
                    f"{one.__name__} takes logits and applies its link itself: leave out the last "
                    f"layer, {output.__name__}{instead}"
                )
        self.network = Network(*layers)
        self.loss: Loss = to_python_scalars(loss)
        self.backend = select(backend)
        self.seed = as_integer("seed", seed, least=0)
        self.dtype = checks.check_dtype(dtype, self.backend)
        self.compute_dtype = checks.check_compute_dtype(compute_dtype, self.dtype, self.backend)
        self.metrics = tuple(default_metrics(loss) if metrics is None else metrics)
        if len({*self.metric_names, "r2"}) < len(self.metric_names) + 1:
            raise ValueError(
                "expected metrics with different names (and none called r2, which evaluate adds), "
                f"got {', '.join(self.metric_names)}"
            )
        self.encoding: dict[str, Any] | None = None
        self.n_in: int | None = None
        self._training: TrainingState | None = None
        self._own_compiled: dict[Any, Callable[..., Any]] = {}

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.network.layers))
        return f"Model({layers}, loss={self.loss!r}, backend={self.backend.spec!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Hold NumPy arrays, which can be read anywhere, and no compiled function."""
        return {
            **self.__dict__,
            "_own_compiled": {},
            "_training": self._training and self._training.map(to_numpy),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Compute on the same backend again, or on NumPy where that cannot be used."""
        self.__dict__.update(state)
        try:
            self.backend.check()
        except BackendUnavailableError as error:
            self.backend = select("numpy")
            warnings.warn(f"the model is on NumPy from now on, because: {error}", stacklevel=2)
        self.compute_dtype = _held(state.get("compute_dtype"), self.dtype, self.backend)
        if self._training is not None:
            with self.backend.scope(self.dtype):
                self._training = self._training.map(self.backend.asarray).copy()

    # What it consists of ---------------------------------------------------------------------

    def build(self, n_in: int) -> Model:
        """Draw the initial parameters for inputs with ``n_in`` features; `fit` does it if needed.

        Raises
        ------
        ShapeError
            The layers do not fit together.
        OutOfMemoryError
            There is no memory for the parameters.
        """
        try:
            self._build(n_in, Random(generator(self.seed, "weights"), self.backend, self.dtype))
        except Exception as error:
            explain_building(error, self, n_in)
            raise
        return self

    def _build(self, n_in: int, draws: Random) -> None:
        """Make parameters and state from these draws."""
        n_in = as_integer("n_in", n_in, least=1)
        with self.backend.scope(self.dtype):
            params = self.network.init(n_in, draws)
            state = self.network.init_state(n_in, draws)
            self.layout = Layout.of(params, self.backend.packed)
            # A copy, because a layer may have given memory that it still holds, or the same twice.
            self._training = TrainingState(self.layout.pack(params), state).copy()
        self.n_in = n_in
        self._own_compiled.clear()

    @property
    def training(self) -> TrainingState:
        """Parameters, optimiser state and history."""
        if self._training is None:
            raise AnybackError(
                "the model has no parameters yet, because it does not know the number of input "
                "features: call fit, or build(n_in)"
            )
        return self._training

    @training.setter
    def training(self, state: TrainingState) -> None:
        self._training = state

    @property
    def n_out(self) -> int:
        """The number of outputs."""
        return self.network.output_size(self._built_for())

    @property
    def params(self) -> Any:
        """A copy of the parameters as the layers see them: one dict of arrays a layer."""
        stored = self.training.params
        with self.backend.scope(self.dtype):
            return tree_copy(self.layout.unpack(stored))

    @property
    def history(self) -> History:
        """What was recorded in all epochs so far."""
        return self.training.history

    @property
    def metric_names(self) -> list[str]:
        """The names of what is recorded, the loss first."""
        return ["loss", *(getattr(one, "__name__", repr(one)) for one in self.metrics)]

    def summary(self) -> list[LayerSummary]:
        """Describe each layer: what it is, the shape of its output, its number of parameters."""
        sizes = self.network.sizes(self._built_for())[1:]
        counts = [
            sum(leaf.stop - leaf.start for leaf in tree_named_leaves(branch).values())
            for branch in self.layout.tree
        ]
        return [
            LayerSummary(repr(layer), (None, n_out), count)
            for layer, n_out, count in zip(self.network.layers, sizes, counts)
        ]

    def _built_for(self) -> int:
        """Give the number of input features, or say that it is not known."""
        assert self.training is not None
        assert self.n_in is not None
        return self.n_in

    # Training --------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        optimizer: Optimizer | None = None,
        epochs: int = 10,
        batch_size: int | None = 32,
        validation: float | tuple[Any, ...] | None = None,
        sample_weight: Any = None,
        class_weight: str | Mapping[int, float] | None = None,
        shuffle: bool = True,
        callbacks: Sequence[Callback] = (),
        progress: bool | None = None,
    ) -> History:
        """Train the model; called again, it goes on from where it was.

        Parameters
        ----------
        x : array, shape (n_samples, n_features), or iterable
            Inputs of any array library, or a NumPy memory map (read batch by batch), or, with
            ``y=None``, an iterable that gives ``(x, y)`` or ``(x, y, weights)`` for each batch,
            such as `anyback_nn.datasets.parquet_batches`. Arrays that find no room on a GPU are
            brought there batch by batch, too (untested on a GPU).
        y : array, shape (n_samples,) or (n_samples, n_outputs)
            Targets: class indices for a loss that classifies, else values.
        optimizer : Optimizer, optional
            With the same settings as in the last call, its state goes on. Default: that of the
            last call, and in the first one ``Adam()``.
        epochs : int
        batch_size : int, optional
            The last batch of an epoch may be smaller. None: all samples (full gradient descent).
        validation : float or tuple, optional
            The share of the samples to set aside (drawn by the seed), or ``(x, y)`` or ``(x, y,
            weights)``.
        sample_weight : array, shape (n_samples,), optional
            The weight of each sample in the mean loss; only their proportions count. (An iterable's
            weights are used as they are: best with a mean of 1.)
        class_weight : "balanced" or mapping of int to float, optional
            The weight of each class; multiplied with ``sample_weight``.
        shuffle : bool
            Whether each epoch goes through the samples in a new order.
        callbacks : sequence of Callback
        progress : bool, optional
            Whether to show a progress bar. Default: only on a terminal.

        Returns
        -------
        History
            All epochs so far, also of earlier calls.

        Raises
        ------
        ShapeError, DataError
            The data do not fit the model, or cannot be learned from.
        DivergenceError
            The loss or a parameter is no longer finite; the model keeps the parameters from the
            start of that epoch.
        OutOfMemoryError
            The device's memory is used up; it says which batch size would fit, and the model
            keeps the parameters from the start of that epoch.
        """
        fit = loop.Fit(self, as_integer("epochs", epochs, least=1))
        if batch_size is not None:
            batch_size = as_integer("batch_size", batch_size, least=1)
        check_callbacks(callbacks)
        before, n_in = self._training, self.n_in
        if optimizer is None:
            optimizer = (before and before.optimizer) or Adam()
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"expected optimizer to be an Optimizer, got {optimizer!r}")
        optimizer = to_python_scalars(optimizer)
        show = sys.stderr.isatty() if progress is None else progress
        bar = ProgressBar() if show else None
        try:
            with self.backend.scope(self.dtype):
                source, held_out = self._sources(
                    x, y, sample_weight, class_weight, validation, batch_size, shuffle
                )
                self.training = self.training.begun(optimizer)
                step, chained = self._training_steps(optimizer)
                shown = [*callbacks, *([bar] if bar else [])]
                loop.train(fit, source, held_out, step, shown, chained)
        except BaseException as error:
            if fit.epochs_done == 0:
                diverged = isinstance(error, DivergenceError)
                self._undo(before, n_in, keep_parameters=diverged)
            explain_setup(error, self, x)
            raise
        finally:
            if bar:
                bar.close()
        return self.history.copy()

    def _training_steps(
        self, optimizer: Optimizer
    ) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        """Make the steps of `fit`."""
        parts = (self.network, self.loss, self.layout, optimizer, self.metrics)
        narrow = self.compute_dtype
        if narrow is None:
            return self.steps("fit", optimizer, lambda: training_step(*parts))
        if needs_scale(narrow):
            self.training = with_scale(self.training, self.backend, self.dtype)
        return self.steps(narrow, optimizer, lambda: mixed_step(*parts, narrow, self.dtype))

    def steps(
        self, key: Any, optimizer: Optimizer, build: Callable[[], Callable[..., Any]]
    ) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        """Build and compile a training step and, where it is worth it, many of them in one call.

        Parameters
        ----------
        key : hashable
            Tells the step apart from others of this model with the same optimiser.
        optimizer : Optimizer
        build : callable
            Builds the step, see `anyback_nn.training.step.training_step`.
        """
        # The rate of each step is an argument of the step.
        key = (key, replace(optimizer, learning_rate=1.0))
        parts = (*_parts(self.network), self.loss, optimizer, *self.metrics)
        # A part of the user's may do anything at each call: it is not replayed. Nor is a step of
        # mixed precision, whose results are in new memory each time.
        replay = self.compute_dtype is None and all(map(_is_own, parts))
        step = self.compiled(key, build, donate=(0, 1), replay=replay)
        if not (replay or self.backend.compiles) or (
            self.network.is_noisy and self.backend.masks_on_device
        ):
            return step, None

        def scan() -> Callable[..., Any] | None:
            return self.backend.scan(step_on_rows(build()), donate=(0, 1))

        return step, self._keep(("scan", key), scan, shared=self.backend.compiles)

    def _undo(self, before: TrainingState | None, n_in: int | None, keep_parameters: bool) -> None:
        """Be as before a call of fit that did not finish an epoch.

        The parameters may have been written to: the loop has put back a copy of them.
        """
        if before is None and not keep_parameters:
            self._training, self.n_in = None, n_in
            return
        old = before or TrainingState((), ())
        if self.training.optimizer != old.optimizer:
            self.training = replace(
                self.training,
                optimizer=old.optimizer,
                slots=old.slots,
                step=old.step,
                first_epoch=old.first_epoch,
            )

    def _sources(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: str | Mapping[int, float] | None,
        validation: float | tuple[Any, ...] | None,
        batch_size: int | None,
        shuffle: bool,
    ) -> tuple[Source, Source | None]:
        """Check what the user passed and turn it into batches to train on and to validate with."""
        fraction = float(validation) if isinstance(validation, Real) else None
        if y is None:
            if sample_weight is not None or class_weight is not None:
                raise ValueError(
                    "sample_weight and class_weight need arrays x and y; an iterable gives the "
                    "weights itself: (x, y, weights)"
                )
            if fraction is not None:
                raise ValueError("a fraction for validation needs arrays x and y; pass (x, y)")
            return self._iterable(x), self._validation(validation)
        x = checks.check_inputs(x, self.n_in)
        n_samples, n_in = x.shape
        rows = self._rows(x, y, sample_weight, n_out=self.network.output_size(int(n_in)))
        train_rows = held_rows = None
        if fraction is not None:
            train_rows, held_rows = split(int(n_samples), fraction, self.seed)
            if rows.weights is not None:
                mean_one(rows.weights[held_rows])
        weights = training_weights(rows, class_weight, self.loss, train_rows)
        if self._training is None:
            self.build(int(n_in))
        resident = not isinstance(x, np.memmap) and has_room(self, rows, batch_size)
        if resident:
            rows = move(rows, self.backend, self.dtype)
        source = self._source(
            rows._replace(weights=weights),
            batch_size,
            resident=resident,
            shuffle=shuffle,
            chosen=train_rows,
        )
        if fraction is None:
            return source, self._validation(validation)
        return source, self._source(rows, resident=resident, chosen=held_rows)

    def _rows(self, x: Array, y: Any, sample_weight: Any, n_out: int) -> Batch:
        """Check targets and weights against the inputs and the loss."""
        y = self.loss.check_targets(checks.as_targets(y), n_out)
        checks.check_same_length(x, y)
        if sample_weight is None:
            return Batch(x, y)
        weights = to_numpy(checks.check_weights(sample_weight, checks.n_rows(x)))
        return Batch(x, y, mean_one(weights))

    def _validation(self, validation: Any) -> Source | None:
        """Check validation data that were given as arrays."""
        if validation is None:
            return None
        if not isinstance(validation, tuple) or len(validation) not in (2, 3):
            raise TypeError(
                "validation: expected a fraction, or a tuple (x, y) or (x, y, weights) of arrays, "
                f"got {type(validation).__name__}"
            )
        x, y, weights = (*validation, None)[:3]
        x = checks.check_inputs(x, self.n_in)
        return self._source(self._rows(x, y, weights, self.n_out))

    def _source(
        self,
        rows: Batch,
        batch_size: int | None = 4096,
        *,
        resident: bool | None = None,
        **options: Any,
    ) -> ArraySource:
        """Make batches of checked arrays, which by default are on the device if there is room."""
        if resident is None:
            resident = has_room(self, rows, batch_size)
        options |= {"batch_size": batch_size, "seed": self.seed, "resident": resident}
        return array_source(rows, self.backend, self.dtype, **options)

    def _iterable(self, batches: Iterable[Any]) -> IterableSource:
        """Make a source of an iterable; its first batch tells the number of features."""
        if not isinstance(batches, Iterable) or hasattr(batches, "dtype"):
            raise TypeError(
                "fit and evaluate need targets: pass y, or an iterable of (x, y) batches as x"
            )
        if self._training is None:
            batches, n_in = peek(batches)
            self.build(n_in)
        return IterableSource(
            self.backend, self.dtype, batches, self.loss, self._built_for(), self.n_out
        )

    # Use -------------------------------------------------------------------------------------

    def compiled(
        self,
        key: Any,
        build: Callable[[], Callable[..., Any]],
        donate: tuple[int, ...] = (),
        *,
        replay: bool = False,
    ) -> Callable[..., Any]:
        """Build and compile one of the model's computations when it is first needed.

        Models of the same architecture share what a library compiles, so that the folds of a
        cross-validation, say, do not compile the same steps again. A step that is replayed is the
        model's own, because it works in the memory of this model's parameters.

        Parameters
        ----------
        key : hashable
            Identifies the computation among those of this architecture.
        build : callable
        donate, replay
            See `Backend.jit`.
        """
        made: Callable[..., Any] = self._keep(
            key,
            lambda: self.backend.jit(build(), donate, replay=replay),
            shared=not replay or self.backend.compiles,
        )
        return made

    def _keep(self, key: Any, make: Callable[[], Any], *, shared: bool) -> Any:
        """Make something when it is first needed."""
        store = self._own_compiled
        if shared:
            # Not with a layer, loss or metric of the user's that cannot be hashed.
            with contextlib.suppress(TypeError):
                store = _compiled(self.backend, self.network, self.loss, self.metrics, self.n_in)
        key = (key, self.dtype, self.layout.packed)
        if key not in store:
            store[key] = make()
        return store[key]

    def evaluate(
        self, x: Any, y: Any = None, *, sample_weight: Any = None, batch_size: int = 4096
    ) -> dict[str, float]:
        """Measure the model on data.

        Parameters
        ----------
        x, y, sample_weight
            As for `fit`.
        batch_size : int
            How many samples are computed at once; it does not change the result.

        Returns
        -------
        dict of str to float
            ``loss``, the metrics and, for a loss that does not classify, ``r2``: the share of the
            targets' variance that is explained, averaged over the outputs.

        Raises
        ------
        OutOfMemoryError
            The device's memory is used up; it says which batch size would fit.
        """
        batch_size = as_integer("batch_size", batch_size, least=1)
        with self.backend.scope(self.dtype):
            n_in = self._built_for()
            if y is None:
                if sample_weight is not None:
                    raise ValueError("an iterable gives the weights itself: (x, y, weights)")
                return loop.evaluate(self, self._iterable(x))
            rows = self._rows(checks.check_inputs(x, n_in), y, sample_weight, self.n_out)
            return loop.evaluate(self, self._source(rows, batch_size, resident=False))

    def predict(self, x: Any, *, batch_size: int = 4096) -> Array:
        """Predict: probabilities for a loss that classifies, else values.

        Parameters
        ----------
        x : array, shape (n_samples, n_features)
        batch_size : int
            How many samples are computed at once.

        Returns
        -------
        array, shape (n_samples, n_outputs)
            The loss's link of the outputs. An array of the backend's library if ``x`` is one,
            else a NumPy array.

        Raises
        ------
        OutOfMemoryError
            The device's memory is used up; it says which batch size would fit.
        """
        return self._apply(x, batch_size, "link")

    def predict_classes(self, x: Any, *, batch_size: int = 4096) -> Array:
        """Predict the class index of each sample (of each label, if there are several).

        Parameters and the kind of array are those of `predict`; shape (n_samples,).
        """
        if not self.loss.classifies:
            raise TypeError(f"{type(self.loss).__name__} does not classify: use predict")
        return self._apply(x, batch_size, "decide")

    def _apply(self, x: Any, batch_size: int, method: str) -> Array:
        """Compute the outputs and read them by a method of the loss."""
        batch_size = as_integer("batch_size", batch_size, least=1)
        with self.backend.scope(self.dtype):
            rows = Batch(checks.check_inputs(x, self._built_for()))
            source = self._source(rows, batch_size, resident=False)
            if _is_own(self.loss):
                result = loop.outputs_of(self, source, method).x
            else:  # a user's may do what it likes at each call: it is not compiled
                result = getattr(self.loss, method)(loop.outputs_of(self, source).x)
            if self.backend.owns(x):
                return result
            array = to_numpy(result)
            # Some libraries give read-only memory.
            return array if array.flags.writeable else array.copy()

    # Moving and keeping ----------------------------------------------------------------------

    def to(self, backend: str | Backend) -> Model:
        """Make a copy on another backend, with the optimiser's state and the history."""
        arrays, settings = self._contents()
        return _from_contents(arrays, settings, select(backend), self.metrics)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: parameters, optimiser state, settings, history, encoding.

        Raises
        ------
        CheckpointError
            The file cannot be written, or a layer or loss of your own is not a dataclass; what
            was there before is left as it was.
        """
        checkpoint.write(path, *self._contents())

    @classmethod
    def load(
        cls,
        path: str | Path,
        backend: str | Backend | None = None,
        metrics: Sequence[Metric] | None = None,
    ) -> Model:
        """Read a file that `save` wrote, whichever backend wrote it.

        Parameters
        ----------
        path : str or Path
        backend, metrics
            As for `Model`; functions are not stored in the file.

        Raises
        ------
        CheckpointError
            There is no such file, or it is truncated, foreign or of a newer format, or uses a
            class that is not defined.
        """
        selected = select(backend)
        arrays, settings = checkpoint.read(path)
        if "estimator" in settings:
            import anyback_nn.sklearn  # noqa: F401 - its optimisers may be in the file
        try:
            return _from_contents(arrays, settings, selected, metrics)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: the contents do not fit together ({type(error).__name__}: {error})"
            ) from error

    def _contents(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give all arrays on the host, and everything else as what JSON can hold."""
        training = self.training
        with self.backend.scope(self.dtype):
            params = self.layout.unpack(training.params)
            slots = dict(training.slots)
            trees = {"parameters": params, "state": training.state}
            trees[LOSS_SCALE] = slots.pop(LOSS_SCALE, ())
            for slot, storage in slots.items():
                trees[f"optimizer.{slot}"] = self.layout.unpack(storage)
            arrays = {
                f"{part}.{name}": to_numpy(array)
                for part, tree in trees.items()
                for name, array in tree_named_leaves(tree).items()
            }
        settings = {
            "network": checkpoint.SETTINGS.to_json(self.network),
            "loss": checkpoint.SETTINGS.to_json(self.loss),
            "optimizer": checkpoint.SETTINGS.to_json(training.optimizer),
            "n_in": self.n_in,
            "dtype": self.dtype,
            "compute_dtype": self.compute_dtype,
            "seed": self.seed,
            "step": training.step,
            "epoch": training.epoch,
            "first_epoch": training.first_epoch,
            "history": training.history.rows,
            "encoding": self.encoding,
        }
        return arrays, settings


def _parts(network: Network) -> Iterable[Layer]:
    """Go through all layers, those of blocks too."""
    for layer in network.layers:
        yield layer
        if isinstance(layer, Network):
            yield from _parts(layer)


def _is_own(part: Any) -> bool:
    """Tell whether a layer, loss, optimiser or metric is defined in this library."""
    defined = part if hasattr(part, "__qualname__") else type(part)
    return str(getattr(defined, "__module__", "")).startswith("anyback_nn.")


def _held(compute_dtype: str | None, dtype: str, backend: Backend) -> str | None:
    """Give what steps can compute in where a model comes to, whose parameters can go anywhere."""
    try:
        return checks.check_compute_dtype(compute_dtype, dtype, backend)
    except ValueError as error:
        warnings.warn(f"the model computes in {dtype} from now on, because: {error}", stacklevel=4)
        return None


def _from_contents(
    arrays: Mapping[str, Any],
    settings: Mapping[str, Any],
    backend: Backend,
    metrics: Sequence[Metric] | None,
) -> Model:
    """Make a model of what `Model._contents` gave."""
    model = Model(
        *checkpoint.SETTINGS.from_json(settings["network"], Network, "network").layers,
        loss=checkpoint.SETTINGS.from_json(settings["loss"], Loss, "loss"),
        backend=backend,
        seed=settings["seed"],
        dtype=settings["dtype"],
        compute_dtype=_held(settings.get("compute_dtype"), settings["dtype"], backend),
        metrics=metrics,
    )
    model._build(settings["n_in"], Zeros(generator(model.seed, "weights"), backend, model.dtype))
    model.encoding = copy.deepcopy(settings["encoding"])
    training = model.training

    def filled(part: str, tree: Any, dtype: str | None = model.dtype) -> Any:
        """Fill a tree with the file's arrays, checking that each has the expected shape."""
        names = iter(tree_named_leaves(tree))

        def fill(leaf: Any) -> Array:
            name = f"{part}.{next(names)}"
            if name not in arrays:
                raise CheckpointError(f"the array {name!r} is missing")
            if tuple(arrays[name].shape) != tuple(leaf.shape):
                raise CheckpointError(
                    f"the array {name!r} has shape {arrays[name].shape}, expected {leaf.shape}"
                )
            if part == "parameters" and not np.all(np.isfinite(arrays[name])):
                raise CheckpointError(f"the array {name!r} holds NaN or infinite values: damaged?")
            # A copy: some libraries give read-only memory, and the optimiser writes into this.
            return backend.asarray(arrays[name].copy(), dtype)

        return tree_map(fill, tree)

    with backend.scope(model.dtype):
        training.params = model.layout.pack(filled("parameters", model.layout.tree))
        training.state = filled("state", training.state, dtype=None)
        optimizer = checkpoint.SETTINGS.from_json(
            settings["optimizer"], Optimizer | None, "optimizer"
        )
        if optimizer is not None:
            training.optimizer = optimizer
            training.slots = {
                slot: model.layout.pack(filled(f"optimizer.{slot}", model.layout.tree))
                for slot in optimizer.slots
            }
            if needs_scale(model.compute_dtype) and f"{LOSS_SCALE}.0" in arrays:
                scale = LossScaling().init(backend, model.dtype)
                training.slots[LOSS_SCALE] = filled(LOSS_SCALE, scale)
    training.step = settings["step"]
    training.epoch = settings["epoch"]
    training.first_epoch = settings["first_epoch"]
    training.history = History(settings["history"]).copy()
    return model
