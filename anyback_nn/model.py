"""The model: a network with its parameters on a backend."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyback_nn.backend import Array, Backend, select, to_numpy
from anyback_nn.errors import AnybackError, CheckpointError
from anyback_nn.network.layer import Layer
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network
from anyback_nn.network.parameters import Layout, map_leaves, named
from anyback_nn.random import Draws, generator
from anyback_nn.training import checkpoint, data, loop
from anyback_nn.training.callbacks import Callback, ProgressBar
from anyback_nn.training.history import History
from anyback_nn.training.metrics import Metric, default_metrics
from anyback_nn.training.optimizers import Adam, Optimizer
from anyback_nn.training.state import TrainingState
from anyback_nn.training.step import training_step

__all__ = ["LayerSummary", "Model"]

DTYPES = ("float32", "float64")


class LayerSummary(NamedTuple):
    """One row of `Model.summary`."""

    layer: str
    output_shape: tuple[None, int]
    parameters: int


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
        metrics: Sequence[Metric] | None = None,
    ) -> None:
        if not isinstance(loss, Loss):
            hint = f". Write {loss.__name__}()" if isinstance(loss, type) else ""
            raise TypeError(f"expected loss to be a Loss, got {loss!r}{hint}")
        if dtype not in DTYPES:
            raise ValueError(f"expected dtype to be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.network = Network(*layers)
        self.loss = loss
        self.backend = select(backend)
        self.seed = seed
        self.dtype = dtype
        self.metrics = tuple(default_metrics(loss) if metrics is None else metrics)
        self.encoding: dict[str, Any] | None = None
        self.n_in: int | None = None
        self._training: TrainingState | None = None
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.network.layers))
        return f"Model({layers}, loss={self.loss!r}, backend={self.backend.spec!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled functions: they cannot be pickled, and are built when needed."""
        return {**self.__dict__, "_compiled": {}}

    # What it consists of ---------------------------------------------------------------------

    def build(self, n_in: int) -> Model:
        """Draw the initial parameters for inputs with ``n_in`` features; `fit` does it if needed.

        Raises
        ------
        ShapeError
            The layers do not fit together.
        """
        self.n_in = n_in
        self._compiled.clear()
        with self.backend.scope(self.dtype):
            draws = Draws(generator(self.seed, "weights"), self.backend, self.dtype)
            params = self.network.init(n_in, draws)
            self.layout = Layout.of(params, self.backend.packed)
            state = self.network.init_state(n_in, draws)
            self._training = TrainingState(self.layout.store(params), state)
        return self

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
        """The parameters as the layers see them: one dict of arrays a layer."""
        return self.layout.restore(self.training.params)

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
            sum(leaf.stop - leaf.start for leaf in named(branch).values())
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
            ``y=None``, an iterable that gives ``(x, y)`` or ``(x, y, weights)`` for each batch.
        y : array, shape (n_samples,) or (n_samples, n_outputs)
            Targets: class indices for a loss that classifies, else values.
        optimizer : Optimizer, optional
            Default: ``Adam()``. With the same settings as in the last call, its state goes on.
        epochs : int
        batch_size : int, optional
            The last batch of an epoch may be smaller. None: all samples (full gradient descent).
        validation : float or tuple, optional
            The share of the samples to set aside (drawn by the seed), or ``(x, y)`` or ``(x, y,
            weights)``.
        sample_weight : array, shape (n_samples,), optional
            The weight of each sample in the mean loss.
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
        """
        if epochs < 1:
            raise ValueError(f"expected epochs to be at least 1, got {epochs}")
        optimizer = Adam() if optimizer is None else optimizer
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"expected optimizer to be an Optimizer, got {optimizer!r}")
        with self.backend.scope(self.dtype):
            source, held_out = self._sources(
                x, y, sample_weight, class_weight, validation, batch_size, shuffle
            )
            self.training.begin(optimizer)
            step = self.compiled(
                optimizer,
                lambda: training_step(
                    self.network, self.loss, self.layout, optimizer, self.metrics
                ),
                donate=(0, 1, 2),
            )
            show = sys.stderr.isatty() if progress is None else progress
            bar = ProgressBar() if show else None
            try:
                loop.train(
                    loop.Fit(self, epochs),
                    source,
                    held_out,
                    step,
                    [*callbacks, *([bar] if bar else [])],
                )
            finally:
                if bar:
                    bar.close()
        return self.history

    def _sources(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: str | Mapping[int, float] | None,
        validation: float | tuple[Any, ...] | None,
        batch_size: int | None,
        shuffle: bool,
    ) -> tuple[data.Source, data.Source | None]:
        """Check what the user passed and turn it into batches to train on and to validate with."""
        if y is None:
            if sample_weight is not None or class_weight is not None:
                raise ValueError(
                    "sample_weight and class_weight need arrays x and y; an iterable gives the "
                    "weights itself: (x, y, weights)"
                )
            if isinstance(validation, float):
                raise ValueError("a fraction for validation needs arrays x and y; pass (x, y)")
            source = self._iterable(x)
            return source, self._validation(validation)
        held_out: data.Source | None
        x = data.check_inputs(x, self.n_in)
        if self._training is None:
            self.build(int(x.shape[1]))
        y, weights = self._targets(x, y, sample_weight)
        if class_weight is not None:
            factors = data.class_weights(y, class_weight)
            weights = factors if weights is None else factors * to_numpy(weights)
        if isinstance(validation, float):
            rows, held_rows = data.split(int(x.shape[0]), validation, self.seed)
            everything = (x, y, weights)
            x, y, weights = (data.take(array, rows) for array in everything)
            held_out = self._source(*(data.take(array, held_rows) for array in everything))
        else:
            held_out = self._validation(validation)
        return self._source(x, y, weights, batch_size, shuffle), held_out

    def _targets(self, x: Array, y: Any, sample_weight: Any) -> tuple[Array, Any]:
        """Check targets and weights against the inputs and the loss."""
        y = self.loss.check_targets(data.as_targets(y), self.n_out)
        data.check_same_length(x, y)
        if sample_weight is None:
            return y, None
        return y, data.check_weights(sample_weight, int(x.shape[0]))

    def _validation(self, validation: Any) -> data.Source | None:
        """Check validation data that were given as arrays."""
        if validation is None:
            return None
        if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
            raise TypeError(
                "validation: expected a fraction (a float), (x, y) or (x, y, weights), got "
                f"{type(validation).__name__}"
            )
        x, y, *rest = validation
        x = data.check_inputs(x, self.n_in)
        return self._source(x, *self._targets(x, y, rest[0] if rest else None))

    def _source(
        self, x: Any, y: Any, weights: Any, batch_size: int | None = 4096, shuffle: bool = False
    ) -> data.ArraySource:
        return data.array_source(
            data.Batch(x, y, weights),
            self.backend,
            self.dtype,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=self.seed,
        )

    def _iterable(self, batches: Iterable[Any]) -> data.IterableSource:
        """Make a source of an iterable; its first batch tells the number of features."""
        if not isinstance(batches, Iterable) or hasattr(batches, "dtype"):
            raise TypeError(
                "fit and evaluate need targets: pass y, or an iterable of (x, y) batches as x"
            )
        if self._training is None:
            batches, n_in = data.peek(batches)
            self.build(n_in)
        return data.IterableSource(
            self.backend, self.dtype, batches, self.loss, self._built_for(), self.n_out
        )

    # Use -------------------------------------------------------------------------------------

    def compiled(
        self, key: Any, build: Callable[[], Callable[..., Any]], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any]:
        """Build and compile one of the model's computations when it is first needed."""
        if key not in self._compiled:
            self._compiled[key] = self.backend.compile(build(), donate)
        return self._compiled[key]

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
        """
        with self.backend.scope(self.dtype):
            self._built_for()
            source: data.Source
            if y is None:
                source = self._iterable(x)
            else:
                x = data.check_inputs(x, self.n_in)
                source = self._source(x, *self._targets(x, y, sample_weight), batch_size)
            return loop.evaluate(self, source)

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
        """
        return self._apply(x, batch_size, self.loss.link)

    def predict_classes(self, x: Any, *, batch_size: int = 4096) -> Array:
        """Predict the class index of each sample (of each label, if there are several).

        Parameters and the kind of array are those of `predict`; shape (n_samples,).
        """
        if not self.loss.classifies:
            raise TypeError(f"{type(self.loss).__name__} does not classify: use predict")
        return self._apply(x, batch_size, self.loss.decide)

    def _apply(self, x: Any, batch_size: int, read: Callable[[Array], Array]) -> Array:
        """Compute the outputs and read them in the loss's way."""
        with self.backend.scope(self.dtype):
            checked = data.check_inputs(x, self._built_for())
            source = self._source(checked, None, None, batch_size)
            outputs, _, _ = loop.outputs_of(self, source)
            result = read(outputs)
            return result if self.backend.owns(x) else to_numpy(result)

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
            trees = {"parameters": self.params, "state": training.state}
            for slot, storage in training.slots.items():
                trees[f"optimizer.{slot}"] = self.layout.restore(storage)
            arrays = {
                f"{part}.{name}": to_numpy(array)
                for part, tree in trees.items()
                for name, array in named(tree).items()
            }
        settings = {
            "network": checkpoint.describe(self.network),
            "loss": checkpoint.describe(self.loss),
            "optimizer": checkpoint.describe(training.optimizer),
            "n_in": self.n_in,
            "dtype": self.dtype,
            "seed": self.seed,
            "step": training.step,
            "epoch": training.epoch,
            "first_epoch": training.first_epoch,
            "history": training.history.rows,
            "encoding": self.encoding,
        }
        return arrays, settings


def _from_contents(
    arrays: Mapping[str, Any],
    settings: Mapping[str, Any],
    backend: Backend,
    metrics: Sequence[Metric] | None,
) -> Model:
    """Make a model of what `Model._contents` gave."""
    model = Model(
        *checkpoint.rebuild(settings["network"]).layers,
        loss=checkpoint.rebuild(settings["loss"]),
        backend=backend,
        seed=settings["seed"],
        dtype=settings["dtype"],
        metrics=metrics,
    )
    model.build(settings["n_in"])
    model.encoding = settings["encoding"]
    training = model.training

    def filled(part: str, tree: Any) -> Any:
        """Fill a tree with the file's arrays, checking that each has the expected shape."""
        names = iter(named(tree))

        def fill(leaf: Any) -> Array:
            name = f"{part}.{next(names)}"
            if name not in arrays:
                raise CheckpointError(f"the array {name!r} is missing")
            if tuple(arrays[name].shape) != tuple(leaf.shape):
                raise CheckpointError(
                    f"the array {name!r} has shape {arrays[name].shape}, expected {leaf.shape}"
                )
            # A copy: some libraries give read-only memory, and the optimiser writes into this.
            return backend.asarray(arrays[name].copy(), model.dtype)

        return map_leaves(fill, tree)

    with backend.scope(model.dtype):
        training.params = model.layout.store(filled("parameters", model.layout.tree))
        training.state = filled("state", training.state)
        optimizer = checkpoint.rebuild(settings["optimizer"])
        if optimizer is not None:
            training.optimizer = optimizer
            training.slots = {
                slot: model.layout.store(filled(f"optimizer.{slot}", model.layout.tree))
                for slot in optimizer.slots
            }
    training.step = settings["step"]
    training.epoch = settings["epoch"]
    training.first_epoch = settings["first_epoch"]
    training.history = History(list(settings["history"]))
    return model
