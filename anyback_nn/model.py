"""The model: a network that can be trained, evaluated, saved and moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from anyback_nn.array_api import Array, is_chunked, to_numpy, to_writable_numpy
from anyback_nn.backends import Backend, select
from anyback_nn.distributed import Communicator
from anyback_nn.distributed.communicator import as_ranks
from anyback_nn.errors import DivergenceError, ShapeError
from anyback_nn.inputs.batches import Source
from anyback_nn.inputs.checks import Samples, check_inputs
from anyback_nn.inputs.frames import find_feature_names
from anyback_nn.network.activations import Sigmoid, Softmax
from anyback_nn.network.layer import Layer
from anyback_nn.network.layout import Layout
from anyback_nn.network.losses import (
    LOSSES,
    BinaryCrossEntropy,
    KnownTargets,
    Loss,
    SoftmaxCrossEntropy,
)
from anyback_nn.optim.optimizers import OPTIMIZERS, Adam, Optimizer, set_schedule
from anyback_nn.optim.schedules import Schedule
from anyback_nn.training import checkpoint, evaluation
from anyback_nn.training.callbacks import Callback, check_callbacks, show_progress
from anyback_nn.training.custom import is_own
from anyback_nn.training.engine import Engine, LayerSummary, choose_compute_dtype
from anyback_nn.training.fit import (
    FitContext,
    batch_arrays,
    batch_iterable,
    build_sources,
    check_arrays,
)
from anyback_nn.training.history import History
from anyback_nn.training.loop import train
from anyback_nn.training.metrics import EpochMetric, Metric
from anyback_nn.training.out_of_memory import explain_building, explain_setup
from anyback_nn.training.resume import (
    describe_arguments,
    find_source,
    find_writer,
    resume_fit,
)
from anyback_nn.training.state import TrainingState
from anyback_nn.training.step import Step, build_halves
from anyback_nn.utils.arguments import as_integer, look_up, to_python_scalars
from anyback_nn.utils.frames import is_frame
from anyback_nn.utils.messages import suggest_call

if TYPE_CHECKING:
    from anyback_nn.datasets import Encoding
    from anyback_nn.explain.explanation import Explanation

__all__ = ["LayerSummary", "Model", "build_from"]


class Model(Engine):
    """A network that can be trained, on any backend.

    Parameters
    ----------
    *layers : Layer
        The layers in the order of the computation, without the input. The last one returns raw
        outputs, such as logits: the loss converts them to predictions.
    loss : Loss or str
        The loss to minimise, or its name in `anyback_nn.LOSSES`.
    backend : str or Backend, optional
        Library and device: ``"numpy"``, ``"cupy"``, ``"cupy:1"``, ``"torch"``, ``"torch:cuda:0"``,
        ``"jax"``, ``"array-api-strict"``. Default: the environment variable
        ``ANYBACK_NN_BACKEND``; if unset, ``"numpy"``.
    seed : int
        Seed for the initial weights, the order of the samples and the dropout masks, which are the
        same on all backends.
    dtype : str
        Dtype of the parameters and of all computation, ``"float32"`` or ``"float64"``.
    compute_dtype : str, optional
        Dtype of the forward and backward pass of training, ``"float16"`` or ``"bfloat16"``, while
        parameters, optimiser, loss and reports stay in float32, see
        `anyback_nn.training.mixed_precision`. PyTorch and JAX have both, CuPy and NumPy float16.
        It is for GPUs and slower on CPUs, above all with NumPy. Default: ``dtype``.
    metrics : sequence of callable or str, optional
        Metrics that are recorded in addition to the loss: ``"accuracy"``, ``"absolute_error"``,
        functions ``(loss, outputs, targets)`` that return one value per sample, and `EpochMetric`
        for functions of all targets and predictions, see `anyback_nn.training.metrics`. Default:
        accuracy for a loss that classifies, else the absolute error.

    Attributes
    ----------
    training : TrainingState
        Parameters, optimiser state and history.
    encoding : dict, optional
        Encoding of raw data as inputs, as plain JSON. It is saved with the model, and not used
        otherwise.
    feature_names : tuple of str, optional
        The columns of the data frame that the model was fitted on. Other data frames must have
        them, in any order; arrays have them in this one.

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
        loss: Loss | str,
        backend: str | Backend | None = None,
        seed: int = 0,
        dtype: str = "float32",
        compute_dtype: str | None = None,
        metrics: Sequence[Metric | EpochMetric | str] | None = None,
    ) -> None:
        if isinstance(loss, str):
            loss = look_up(loss, LOSSES, "loss")()
        if not isinstance(loss, Loss):
            raise TypeError(f"expected loss to be a Loss, got {loss!r}{suggest_call(loss)}")
        for kind, output, instead in (
            (SoftmaxCrossEntropy, Softmax, ""),
            (BinaryCrossEntropy, Sigmoid, ", or use ProbabilityCrossEntropy"),
        ):
            single = loss.loss if isinstance(loss, KnownTargets) else loss
            if isinstance(single, kind) and layers and isinstance(layers[-1], output):
                raise ValueError(
                    f"{kind.__name__} takes logits and applies its link itself: leave out the last "
                    f"layer, {output.__name__}{instead}"
                )
        super().__init__(
            *layers,
            loss=loss,
            backend=backend,
            seed=seed,
            dtype=dtype,
            compute_dtype=compute_dtype,
            metrics=metrics,
        )
        self.encoding: dict[str, Any] | None = None

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.network.layers))
        return f"Model({layers}, loss={self.loss!r}, backend={self.backend.spec!r})"

    # Training --------------------------------------------------------------------------------

    def build(self, n_in: int) -> Self:
        """Draw the initial parameters for inputs with ``n_in`` features; `fit` does so if needed.

        Raises
        ------
        ShapeError
            The layers do not fit together.
        OutOfMemoryError
            There is not enough memory for the parameters.
        """
        try:
            return super().build(n_in)
        except Exception as error:
            explain_building(error, self, n_in)
            raise

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        optimizer: Optimizer | str | None = None,
        schedule: Schedule | str | None = None,
        epochs: int = 10,
        batch_size: int | None = 32,
        validation: float | tuple[Any, ...] | None = None,
        sample_weight: Any = None,
        class_weight: str | Mapping[int, float] | None = None,
        shuffle: bool = True,
        callbacks: Sequence[Callback] = (),
        progress: bool | None = None,
        resume: bool | str | Path | None = None,
        on_divergence: str = "stop",
        distributed: Communicator | None = None,
    ) -> History:
        """Train the model; called again, it resumes training.

        Parameters
        ----------
        x : array, shape (n_samples, n_features), or iterable
            Inputs of any array library, a data frame of pandas or polars with numbers and
            booleans, a NumPy memory map (read batch by batch) or a dask array (computed chunk by
            chunk), or, with ``y=None``, an iterable of batches ``(x, y)`` or ``(x, y, weights)``,
            such as `anyback_nn.datasets.parquet_batches`. Arrays that do not fit on a GPU are moved
            there batch by batch, too.
        y : array, shape (n_samples,) or (n_samples, n_outputs)
            Targets: class indices for a loss that classifies, else values.
        optimizer : Optimizer or str, optional
            The optimiser, or its name in `anyback_nn.OPTIMIZERS`. If it has the settings of the
            last call, it keeps its state. Default: that of the last call; in the first call
            ``Adam()``.
        schedule : Schedule or str, optional
            The learning rate as a function of the epoch, instead of the optimiser's: ``"cosine"``,
            from the optimiser's rate to 0 in the last epoch of this call, ``"constant"``, or a
            schedule.
        epochs : int
            The number of epochs of this call.
        batch_size : int, optional
            The number of samples in a batch; the last one of an epoch may be smaller. None: all
            samples (full gradient descent).
        validation : float or tuple, optional
            The share of the samples that are used for validation (drawn with the seed), or
            validation data: ``(x, y)`` or ``(x, y, weights)``.
        sample_weight : array, shape (n_samples,), optional
            The weight of each sample in the mean loss; only their proportions matter. (The weights
            of an iterable are not scaled; their mean should be 1.)
        class_weight : "balanced" or mapping of int to float, optional
            The weight of each class; multiplied with ``sample_weight``.
        shuffle : bool
            Whether each epoch has a new order of the samples: of chunks, and within each chunk.
        callbacks : sequence of Callback
            Callbacks, see `anyback_nn.training.callbacks`.
        progress : bool, optional
            Whether to show progress: a bar on a terminal, else a line an epoch. Default: only on a
            terminal or in a notebook.
        resume : bool or path, optional
            The checkpoint, or the folder of checkpoints, from which training resumes as if it had
            never been interrupted: all steps of this call then count from its beginning. True: the
            folder of the `Checkpoint` among the callbacks, if it has any yet. The model and all
            arguments must be those of then, but for ``epochs``, ``callbacks`` without a state, and
            an optimiser or schedule that is left out.
        on_divergence : {"stop", "rollback"}
            What happens after an epoch in which the loss or a parameter is no longer finite, or the
            loss is more than 1,000 times that of the first epoch of this call: an error (for the
            loss, not if `EarlyStopping` restores the best epoch), or the epoch is tried again from
            its start with a quarter of the learning rate, five times at most. With "rollback", the
            end of the first epoch is compared with its beginning.
        distributed : Communicator, optional
            The processes that train together, see `anyback_nn.distributed.init`: each calls `fit`
            with the same arguments, computes with its share of every batch, and ends with the
            model that a single process would train, to rounding. ``batch_size`` is that of all;
            rank 0 alone writes checkpoints and shows progress.

        Returns
        -------
        History
            All epochs so far, including those of earlier calls.

        Raises
        ------
        ShapeError, DataError
            The data do not fit the model, or are invalid.
        CheckpointError
            Training cannot resume: there is no checkpoint that is whole, or it is of another
            network, or of other data or arguments; the message names the difference.
        BackendUnavailableError
            The backend takes no steps of training.
        DivergenceError
            The loss or a parameter is no longer finite, or the loss far too large; the model keeps
            the parameters from the start of that epoch. The error has the epoch, the step, the
            layer, and norms.
        OutOfMemoryError
            The device ran out of memory. The message says which batch size would fit; the model
            keeps the parameters from the start of that epoch.
        """
        self.backend.check_computes("steps")
        epochs = as_integer("epochs", epochs, least=1)
        context = FitContext(self, epochs, on_divergence=on_divergence)
        if batch_size is not None:
            batch_size = as_integer("batch_size", batch_size, least=1)
        if shuffle not in (True, False):
            raise TypeError(f"expected shuffle to be True or False, got {shuffle!r}")
        check_callbacks(callbacks)
        before, n_in = self._training, self.n_in
        feature_names, encoding = self.feature_names, self.encoding
        keeps_state = False
        is_chosen = optimizer is not None or schedule is not None
        rule = self._choose_optimizer(optimizer, schedule, context.epochs)
        writer = find_writer(callbacks)
        resumed = find_source(resume, writer)
        self.begin_training()
        try:
            if self.feature_names is None:
                self.feature_names = find_feature_names(x)
            with (
                self.backend.scope(self.dtype),
                show_progress(progress) as shown,
                nullcontext() if writer is None else writer.hold(as_ranks(distributed)),
            ):
                training_source, validation_source = build_sources(
                    *(self, x, y, sample_weight, class_weight),
                    *(validation, batch_size, shuffle, distributed),
                )
                if writer is not None or resumed is not None:
                    context.arguments = describe_arguments(
                        *(context, training_source, batch_size, shuffle),
                        float(validation) if isinstance(validation, Real) else validation_source,
                        rule if is_chosen or resumed is None else None,
                    )
                if resumed is not None:
                    resume_fit(context, resumed, writer)
                    rule = self.training.optimizer or rule
                else:
                    old = before and before.optimizer_state
                    self.set_optimizer(rule)
                    keeps_state = self.training.optimizer_state is old
                    if isinstance(schedule, str):  # which is one of this call
                        self.training = replace(self.training, first_epoch=self.training.epoch)
                steps = self.compile_training_steps(rule, training_source.ranks)
                train(context, training_source, validation_source, steps, [*callbacks, *shown])
        except BaseException as error:
            if context.epochs_done == context.resumed_epochs:
                if resumed is None:
                    diverged = isinstance(error, DivergenceError)
                    self._undo(before, n_in, diverged, keeps_state)
                    self.feature_names = feature_names
                elif not context.has_begun:  # it was refused
                    self._training, self.n_in = before, n_in
                    self.feature_names, self.encoding = feature_names, encoding
            explain_setup(error, self, x)
            raise
        finally:
            self.drop_large_programs()
            self.end_training()
        return self.history.copy()

    def _choose_optimizer(
        self, optimizer: Any, schedule: Schedule | str | None, epochs: int
    ) -> Optimizer:
        """Return the optimiser that the arguments of `fit` describe."""
        if optimizer is None:
            optimizer = (self._training and self._training.optimizer) or Adam()
        if isinstance(optimizer, str):
            optimizer = look_up(optimizer, OPTIMIZERS, "optimizer")()  # type: ignore[call-arg]
        if not isinstance(optimizer, Optimizer):
            hint = suggest_call(optimizer)
            raise TypeError(f"expected optimizer to be an Optimizer, got {optimizer!r}{hint}")
        if schedule is not None:
            optimizer = set_schedule(optimizer, schedule, epochs)
        rule: Optimizer = to_python_scalars(optimizer)
        return rule

    def _undo(
        self,
        before: TrainingState | None,
        n_in: int | None,
        keep_parameters: bool,
        keeps_state: bool,
    ) -> None:
        """Restore the state before a call of `fit` that did not finish an epoch.

        The loop has restored a copy of the parameters, which may have been overwritten, and with
        ``keeps_state`` of the state of the same optimiser.
        """
        if before is None and not keep_parameters:
            self._training, self.n_in = None, n_in
            return
        old = before or TrainingState((), ())
        now = self.training
        if (now.optimizer, now.first_epoch) != (old.optimizer, old.first_epoch):
            own = self.training if keeps_state else old
            self.training = replace(
                self.training,
                optimizer=old.optimizer,
                optimizer_state=own.optimizer_state,
                step=own.step,
                first_epoch=old.first_epoch,
            )

    # Use -------------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        batch_size: int = 4096,
        distributed: Communicator | None = None,
    ) -> dict[str, float]:
        """Evaluate the model on data.

        Parameters
        ----------
        x, y, sample_weight
            As for `fit`.
        batch_size : int
            The number of samples that are computed at once; it does not change the result.
        distributed : Communicator, optional
            The processes that share the rows; each returns the same.

        Returns
        -------
        dict of str to float
            ``loss``, the metrics and, for a loss that does not classify, ``r2``: the explained
            share of the targets' variance, averaged over the outputs.

        Raises
        ------
        OutOfMemoryError
            The device ran out of memory; the message says which batch size would fit.
        """
        batch_size = as_integer("batch_size", batch_size, least=1)
        self.check_built()
        with self.backend.scope(self.dtype):
            if y is None:
                source: Source = batch_iterable(self, x, distributed, sample_weight=sample_weight)
            else:
                rows = check_arrays(self, x, y, sample_weight)
                source = batch_arrays(self, rows, batch_size, resident=False, ranks=distributed)
            evaluation.require_same(self, source)
            return evaluation.evaluate(self, source)

    def predict(
        self, x: Any, *, batch_size: int = 4096, distributed: Communicator | None = None
    ) -> Array:
        """Predict: probabilities for a loss that classifies, else values.

        Parameters
        ----------
        x : array, shape (n_samples, n_features)
            Or a data frame, of which the columns are taken by the names that those of `fit` had.
        batch_size : int
            The number of samples that are computed at once.
        distributed : Communicator, optional
            The processes that share the rows; each returns all predictions.

        Returns
        -------
        array, shape (n_samples, n_outputs)
            The predictions, see `Loss.link`. An array of the backend's library if ``x`` is one,
            else a NumPy array. For an array of dask, it is computed when it is read.

        Raises
        ------
        OutOfMemoryError
            The device ran out of memory; the message says which batch size would fit.
        """
        return self._apply(x, batch_size, "link", distributed)

    def predict_classes(
        self, x: Any, *, batch_size: int = 4096, distributed: Communicator | None = None
    ) -> Array:
        """Predict the class index of each sample (of each label, if there are several).

        Parameters and return type are those of `predict`; the shape is (n_samples,).
        """
        if not self.loss.classifies:
            raise TypeError(f"{type(self.loss).__name__} does not classify: use predict")
        return self._apply(x, batch_size, "decide", distributed)

    def _apply(self, x: Any, batch_size: int, method: str, ranks: Communicator | None) -> Array:
        """Compute the outputs and apply a method of the loss to them."""
        batch_size = as_integer("batch_size", batch_size, least=1)
        with self.backend.scope(self.dtype):
            names, finite = self.feature_names, not is_chunked(x)
            x = check_inputs(x, self.n_inputs, finite=finite, feature_names=names, dtype=self.dtype)
            rows = Samples(x)
            source = batch_arrays(self, rows, batch_size, resident=False, ranks=ranks)
            evaluation.require_same(self, source)
            if is_own(self.loss):
                result = evaluation.compute_outputs(self, source, method).outputs
            else:  # a custom loss may do anything in each call, so it is not compiled
                outputs = evaluation.compute_outputs(self, source).outputs
                result = getattr(self.loss, method)(outputs)
            if self.backend.owns(x):
                return result
            return to_writable_numpy(result)

    # Looking inside --------------------------------------------------------------------------

    def explain(
        self, x: Any, y: Any = None, *, weight: tuple[int, int, int] | None = None
    ) -> Explanation:
        """Walk samples through the network: each equation with its numbers, and the next update.

        The walk is that of a prediction, in float64 on NumPy. The update is that of the model's
        next step if it trained on these samples, by its optimiser with its stored state (before any
        training: by Adam, from zeros). Printed, it is a text that can be checked by hand.

        Parameters
        ----------
        x : array, shape (n_features,) or (n_samples, n_features)
            One sample or a few.
        y : array, optional
            The targets. Default: none; then there is the forward part alone.
        weight : tuple of (int, int, int), optional
            The weight whose update is worked out: the number of its `Dense` layer, from 1, then
            its input and its unit, from 0. Default: the one
            of the first `Dense` layer with the largest gradient.

        Returns
        -------
        Explanation
            With ``to_html(path)`` for a page, and ``to_python()`` for a NumPy script.

        Raises
        ------
        ShapeError, DataError
            The samples or the targets do not fit the model.
        ValueError
            There is no such weight, or no target for its update.

        Examples
        --------
        >>> import anyback_nn as nn
        >>> model = nn.Model(nn.Dense(1, initializer=nn.Constant(0.5)), loss="mean_squared_error")
        >>> explanation = model.build(2).explain([1.0, 2.0], 0.5)
        >>> explanation.values["dW1"].tolist()
        [[2.0], [4.0]]
        >>> print(explanation.work_gradient()[-1])
        dW₁[1,0] = X[0,1] · dZ₁[0,0] = 2 · 2 = 4
        """
        from anyback_nn.explain.from_model import explain

        self.check_built()
        if np.ndim(x) == 1 and not is_frame(x):
            x = to_numpy(x)[None, :]
            y = None if y is None else to_numpy(y).reshape(1, -1)
        with self.backend.scope(self.dtype):
            names = self.feature_names
            x = to_numpy(check_inputs(x, self.n_inputs, feature_names=names, dtype=self.dtype))
        if y is not None:
            y = self.loss.check_targets(np.atleast_1d(to_numpy(y)), self.n_out)
            if len(y) != len(x):
                raise ShapeError(f"expected a target for each of {len(x)} samples, got {len(y)}")
        optimizer = self._choose_optimizer(None, None, 1)
        return explain(self, optimizer, x, y, weight, features=names or ())

    # Moving and saving -----------------------------------------------------------------------

    def to(self, backend: str | Backend) -> Model:
        """Return a copy on another backend, with the optimiser's state and the history."""
        return build_from(*checkpoint.collect_contents(self), select(backend), self.metrics)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: parameters, optimiser state, settings, history, encoding.

        Raises
        ------
        CheckpointError
            The file cannot be written, or a custom layer or loss is not a dataclass. An existing
            file is unchanged.
        """
        checkpoint.write(path, *checkpoint.collect_contents(self))

    def to_onnx(
        self,
        path: str | Path | None = None,
        *,
        training: bool = False,
        optimizer: Optimizer | str | None = None,
        batch_size: int = 32,
        encoding: Encoding | dict[str, Any] | None = None,
    ) -> Any:
        """Export to ONNX: predictions, or one step of training, in programs without this library.

        The graph is built by the model's own code, users' layers and losses included, and compared
        with it in onnxruntime. It needs the extra ``onnx``.

        Parameters
        ----------
        path : str or Path, optional
            The file to write. Default: none.
        training : bool
            Whether to export a step of training on a batch, with parameters and the optimiser's
            state as inputs and outputs, see ``docs/onnx.md``. Default: the predictions of `predict`
            for any number of samples: the output ``prediction`` for the input ``x``.
        optimizer : Optimizer or str, optional
            The optimiser of the step, as for `fit`.
        batch_size : int
            The number of samples of the step.
        encoding : Encoding or dict, optional
            The encoding of raw data, also as its JSON in ``model.encoding``. It becomes part of the
            graph, whose inputs are then the columns of a table, and its outputs labels or the
            target's own units. Default: none.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ExportError
            A layer or loss computes with more than functions of the array API standard, or depends
            on the number of samples; onnxruntime computes something else than the model, by more
            than 1e-5; or the file cannot be written.
        BackendUnavailableError
            The extra is not installed.
        """
        self.check_built()
        from anyback_nn.onnx.graphs import write
        from anyback_nn.onnx.predictions import export_predictions, export_raw_predictions
        from anyback_nn.onnx.steps import export_step

        size = as_integer("batch_size", batch_size, least=1)
        if training and encoding is not None:
            raise ValueError("a step takes encoded data: expected training or encoding, not both")
        if optimizer is not None and not training:
            raise ValueError("predictions need no optimizer: expected it with training=True alone")
        if training:
            rule = self._choose_optimizer(optimizer, None, 1)

            def build(layout: Layout) -> Step:
                return build_halves(self.network, self.loss, layout, rule, ())

            graph = export_step(self, rule, size, build, rule.init)
        elif encoding is not None:
            graph = export_raw_predictions(self, encoding)
        else:
            graph = export_predictions(
                self,
                lambda outputs: {"prediction": self.loss.link(outputs)},
                lambda x: {"prediction": to_numpy(self.predict(x))},
            )
        if path is not None:
            write(graph, path)
        return graph

    @classmethod
    def load(
        cls,
        path: str | Path,
        backend: str | Backend | None = None,
        metrics: Sequence[Metric | EpochMetric | str] | None = None,
    ) -> Model:
        """Load a file that `save` wrote, on any backend.

        Parameters
        ----------
        path : str or Path
        backend, metrics
            As for `Model`; they are not stored in the file.

        Raises
        ------
        CheckpointError
            The file does not exist, is truncated, of another program or of a newer format, or
            uses a class that is not defined.
        """
        selected = select(backend)
        arrays, settings = checkpoint.read(path)
        with checkpoint.name_file(path):
            return build_from(arrays, settings, selected, metrics)


def build_from(
    arrays: Mapping[str, Any],
    settings: Mapping[str, Any],
    backend: Backend,
    metrics: Sequence[Metric | EpochMetric | str] | None,
) -> Model:
    """Create the model with the contents of a file, see `checkpoint.collect_contents`."""
    network, loss = checkpoint.read_network(settings)
    model = Model(
        *network.layers,
        loss=loss,
        backend=backend,
        seed=settings["seed"],
        dtype=settings["dtype"],
        compute_dtype=choose_compute_dtype(
            settings.get("compute_dtype"), settings["dtype"], backend
        ),
        metrics=metrics,
    )
    checkpoint.restore(model, arrays, settings)
    return model
