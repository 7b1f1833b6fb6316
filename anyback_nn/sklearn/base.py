"""What the classifier and the regressor share: parameters, fitting, prediction, files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from anyback_nn.array_api import Array
from anyback_nn.backends import Backend
from anyback_nn.distributed import Communicator
from anyback_nn.errors import DivergenceError
from anyback_nn.inputs.batches import ArraySource
from anyback_nn.inputs.checks import Samples, is_sparse, warn_of_lost_variation
from anyback_nn.model import Model
from anyback_nn.network.activations import Activation
from anyback_nn.network.network import Network
from anyback_nn.optim.optimizers import OPTIMIZERS, Optimizer
from anyback_nn.optim.schedules import Schedule
from anyback_nn.sklearn import convert, inputs, lbfgs, persistence, stochastic, validation
from anyback_nn.sklearn.architecture import (
    ACTIVATION_NAMES,
    Parameters,
    build_layers,
    build_model,
    check_hidden_sizes,
    dense_params,
    set_dense_params,
)
from anyback_nn.sklearn.batches import ShuffledSource, rows_at_once
from anyback_nn.sklearn.estimator import Estimator
from anyback_nn.sklearn.validation import Validation
from anyback_nn.training.callbacks import EarlyStopping, check_callbacks
from anyback_nn.training.custom import is_own
from anyback_nn.training.evaluation import compute_outputs
from anyback_nn.training.fit import batch_arrays
from anyback_nn.training.resume import find_writer
from anyback_nn.utils.arguments import to_python_scalars

__all__ = ["BaseMLP"]

PREDICTION_BATCH = 4096
"""The most samples of a batch in prediction."""

_OUT_ACTIVATIONS = {
    "SoftmaxCrossEntropy": "softmax",
    "BinaryCrossEntropy": "logistic",
    "Poisson": "exp",
}
"""scikit-learn's name of a loss's link; that of all others is the identity."""


def is_stochastic(mlp: BaseMLP) -> bool:
    """Return whether training goes in epochs, so that there is `partial_fit`."""
    if not mlp._in_epochs:
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


def _make_property(name: str, description: str) -> Any:
    """Create the property that reads and replaces the parameters with that name."""

    def read(mlp: BaseMLP) -> list[Array]:
        arrays = dense_params(mlp._fitted_model(), name)
        if mlp._fitted_on == "numpy":
            arrays = [inputs.read_only(array) for array in arrays]
        return Parameters(arrays, partial(replace, mlp))

    def replace(mlp: BaseMLP, values: Sequence[Any]) -> None:
        set_dense_params(mlp._fitted_model(), name, values)
        # Training resumes from these.
        mlp._training_params = None

    return property(read, replace, doc=description)


class BaseMLP(Estimator):
    """A multi-layer perceptron with scikit-learn's parameters, methods and attributes."""

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 - scikit-learn's convention
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATION_NAMES)), Activation, list, tuple],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "backend": [str, Backend],
        "dtype": [None, StrOptions({"float32", "float64"}), type, np.dtype],
        "layers": [None, list, tuple],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "batch_norm": ["boolean"],
        "optimizer": [None, StrOptions(set(OPTIMIZERS)), Optimizer],
        "schedule": [None, Schedule],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "l2_per_sample": [Interval(Real, 0, None, closed="left")],
        "average_weights": [None, Interval(Real, 0, 1, closed="neither")],
        "validation_data": [None, tuple, list],
        "early_stopping_metric": [None, str, callable],
        "callbacks": [None, list, tuple],
        "progress": ["boolean"],
        "distributed": [None, Communicator],
    }

    def _store(self, arguments: Mapping[str, Any]) -> None:
        """Keep the arguments of ``__init__``: its ``locals()``.

        Not those that the class is said to have: a subclass may have more, or fewer.
        """
        for name, value in arguments.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def _with_class_weight(self, weights: Any, labels: Any, incremental: bool) -> Any:
        """Multiply the weights of samples by those of their classes, if there are any."""
        return weights

    # Fitting ----------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to inputs and targets.

        Parameters
        ----------
        X : array, table or sparse matrix, shape (n_samples, n_features)
        y : array-like, shape (n_samples,) or (n_samples, n_outputs)
            Of a classifier: classes, as numbers or strings, or 0 and 1 for each of several labels.
            Of a regressor: values.
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        incremental: bool = False,
        classes: Any = None,
    ) -> Self:
        """Check everything, then train."""
        before = dict(vars(self))
        try:
            prepared = self._prepare(X, y, sample_weight, incremental, classes)
        except BaseException:
            # As it was, and not half of it for other data.
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        if prepared is None:
            return self
        self._set_loss()
        self.converged_, self.n_iter_ = False, 0
        try:
            with self.model_.backend.scope(self.model_.dtype):
                if self._in_epochs:
                    stochastic.train(self, *prepared, incremental=incremental)
                else:
                    lbfgs.train(self, *prepared)
        except DivergenceError as error:
            raise ValueError(f"{lbfgs.NOT_FINITE} Here {error}.") from error
        return self

    def _prepare(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, classes: Any
    ) -> tuple[ArraySource, Validation | None] | None:
        """Check everything, and set what fit sets before training.

        Returns
        -------
        source : ArraySource
        validation : Validation or None
            Both, or None if early stopping has ended training for good.
        """
        check_hidden_sizes(self.hidden_layer_sizes)
        self._check_callbacks()
        metric = self.early_stopping_metric
        scorer = None if metric is None else check_scoring(self, scoring=metric)
        self._check_effects()
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        # A scorer gets a table if a table was given.
        table = X if hasattr(X, "iloc") or hasattr(X, "columns") else None
        given, y, labels = self._check_rows(
            X, y, sample_weight, first=first, incremental=incremental, classes=classes
        )
        X, n_samples = given.x, int(given.x.shape[0])
        rows = given._replace(weights=self._with_class_weight(given.weights, labels, incremental))
        if incremental and not first and self.early_stopping and self.converged_:
            if self.n_iter_ > 1:
                raise ValueError(
                    "partial_fit does not support early_stopping=True after fit, which has ended "
                    "training with rows of its own held out. Set early_stopping=False to resume "
                    "it, or call fit"
                )
            warnings.warn(
                "early stopping has ended the training of this estimator: partial_fit changes "
                "nothing any more. Call fit, or set early_stopping=False, to resume it",
                stacklevel=5,
            )
            return None
        random = check_random_state(self.random_state)
        if first:
            self._begin(X, random)
        else:
            self._warn_of_settings_without_effect()
        self._fitted_on = inputs.namespace_name(X)
        model = self.model_
        model.backend.check_computes("steps" if self._in_epochs else "gradients")
        with model.backend.scope(model.dtype):
            if not model.backend.defers(X):
                warn_of_lost_variation(given, model.dtype, stacklevel=5)
            if not self._in_epochs:
                lbfgs.check_deterministic(model, tuple(X.shape))
            chosen = measured = None
            if self.validation_data is not None:
                measured = validation.check_validation_data(self, scorer)
            elif self.early_stopping and self._in_epochs:
                chosen, held = validation.split(self, labels, random, incremental=incremental)
                n_samples = len(chosen)
                part = Samples(*(inputs.take_rows(array, held) for array in given))
                seen = part.x if table is None else inputs.take_rows(table, held)
                measured = Validation.build(self, part, scorer, (seen, y[held]))
            options: dict[str, Any] = {"ranks": self.distributed}
            if self.shuffle and self._in_epochs:
                chosen = np.arange(n_samples) if chosen is None else chosen
                options["kind"] = partial(ShuffledSource, random=random)
            size = self._choose_batch_size(n_samples, X)
            source = batch_arrays(model, rows, size, chosen=chosen, **options)
        return source, measured

    def _check_callbacks(self) -> None:
        """Refuse invalid callbacks, and those that undo what the parameters ask for."""
        callbacks = self.callbacks or ()
        check_callbacks(callbacks)
        restores = any(isinstance(call, EarlyStopping) and call.restore_best for call in callbacks)
        if restores and self.average_weights is not None and self._in_epochs:
            raise ValueError(
                "callbacks: EarlyStopping puts the best weights back, but with average_weights "
                "their average predicts. Use early_stopping=True instead, which restores the best "
                "average, or EarlyStopping(restore_best=False)"
            )

    def _check_effects(self) -> None:
        """Refuse parameters of ours that would have no effect, or no sense, next to others."""
        if self.distributed and not isinstance(self.random_state, Integral):
            raise ValueError(
                "distributed: expected random_state to be an integer, the same on all ranks, got "
                f"{self.random_state!r}"
            )
        if self.optimizer is not None and self.solver != "adam":
            raise ValueError(
                f"solver={self.solver!r} would have no effect, because optimizer="
                f"{self.optimizer!r} takes its place: set one of the two"
            )
        if not self._in_epochs:
            if find_writer(self.callbacks or ()) is not None:
                raise ValueError(
                    "callbacks: Checkpoint would have no effect with solver='lbfgs', which keeps "
                    "no state to resume from. Use solver='adam' or 'sgd', or leave it out"
                )
            names = ("schedule", "clip_norm", "average_weights")
            if ignored := [name for name in names if getattr(self, name) is not None]:
                raise ValueError(
                    f"{' and '.join(ignored)} would have no effect with solver='lbfgs', which "
                    "searches for the length of each step. Use solver='adam' or 'sgd', or leave "
                    "this out"
                )
        stops = self.early_stopping and self._in_epochs
        if self.early_stopping_metric is not None and self.validation_data is None and not stops:
            raise ValueError(
                "early_stopping_metric would have no effect without validation data: set "
                "validation_data=(X, y)" + (", or early_stopping=True" if self._in_epochs else "")
            )

    def _choose_batch_size(self, n_samples: int, X: Any) -> int:
        """Choose the size of a batch: for L-BFGS, as many samples as memory allows."""
        if not self._in_epochs:
            return min(n_samples, rows_at_once(int(X.shape[1]))) if is_sparse(X) else n_samples
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=6,
            )
        return min(int(self.batch_size), n_samples)

    def _begin(self, X: Any, random: Any) -> None:
        """Create a new model with its first weights, and set the counts to zero."""
        self.model_ = build_model(self, X, random, lbfgs=not self._in_epochs)
        self._reset(inputs.namespace_name(X))
        self.n_layers_ = len(self.coefs_) + 1

    def _set_loss(self) -> None:
        """Set the model's loss to the one that the parameters describe, which may have changed."""
        model, loss = self.model_, to_python_scalars(self._choose_loss()[0])
        # A custom loss may equal the last one, and compute something else.
        if loss is not model.loss and (loss != model.loss or not is_own(loss)):
            model.loss = loss
            # What is compiled for this model alone is not distinguished by the loss.
            model.forget_compiled()
        self.out_activation_ = _OUT_ACTIVATIONS.get(type(loss).__name__, "identity")

    def _warn_of_settings_without_effect(self) -> None:
        """Warn of changed parameters that count only when a fit begins."""
        model, changed = self.model_, []
        if Network(*build_layers(self)) != model.network:
            changed.append("the network (hidden_layer_sizes, activation, layers, ...)")
        spec = self._backend_spec
        if spec not in ("auto", self._fitted_backend, model.backend.spec):
            changed.append(f"backend={spec!r}")
        if inputs.dtype_name(self.dtype) not in (None, model.dtype):
            changed.append(f"dtype={self.dtype!r}")
        if changed:
            warnings.warn(
                f"{' and '.join(changed)}: what was changed here since the first fit has no effect "
                "before fit is called with warm_start=False",
                stacklevel=6,
            )

    # Weights and curves -----------------------------------------------------------------------

    def _fitted_model(self) -> Model:
        """Return the model, or raise the error of a missing attribute."""
        if "model_" not in vars(self):
            raise AttributeError(
                f"this {type(self).__name__} has not been fitted yet: call fit first"
            )
        return self.model_

    coefs_ = _make_property(
        "weight", "The weight matrix of each dense layer, of shape (n_in, n_out)."
    )
    intercepts_ = _make_property("bias", "The bias of each dense layer.")

    def _curve(self, name: str) -> list[float]:
        """List what the history has under that name."""
        return [row[name] for row in self._fitted_model().history if name in row]

    @property
    def loss_curve_(self) -> list[float]:
        """The loss of each epoch, penalty included; of each iteration of L-BFGS."""
        return self._curve("train_loss")

    @property
    def validation_scores_(self) -> list[float] | None:
        """The score on the validation data after each epoch; None without such data."""
        return self._curve("validation_score") or None

    @property
    def validation_curve_(self) -> list[float] | None:
        """The loss on the validation data after each epoch, without penalty; None without them."""
        return self._curve("validation_loss") or None

    # Use --------------------------------------------------------------------------------------

    def _compute(self, X: Any, method: str, read: Callable[[Array], Array]) -> Array:
        """Check inputs, compute and read their outputs, and return that in the inputs' library."""
        check_is_fitted(self, "model_")
        X, _ = inputs.check_data(self, X, reset=False, needs_y=False)
        inputs.check_namespace(self, X, method)
        model, size = self.model_, min(PREDICTION_BATCH, rows_at_once(int(X.shape[1])))
        with model.backend.scope(model.dtype):
            source = batch_arrays(model, Samples(X), size, resident=False)
            return inputs.like_input(read(compute_outputs(model, source).outputs), X)

    # Files and other libraries

    def to_sklearn(self) -> Any:
        """Create scikit-learn's own estimator with these weights: the same predictions.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor

        Raises
        ------
        ValueError
            scikit-learn has no such network or loss: it has dense layers with one of its four
            activations.
        """
        return convert.to_sklearn(self)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to one safetensors file, without pickle.

        The file is also one of `anyback_nn.Model`. What it cannot hold is left out, and has its
        default after loading: ``callbacks``, ``validation_data``, ``distributed``, a function as
        ``early_stopping_metric`` and a generator as ``random_state``. Of the weights, it holds
        those that predict. Training resumes from these, and with early stopping they count as the
        best so far, as after `fit`; before early stopping has ended `partial_fit`, the best may be
        others.

        Raises
        ------
        CheckpointError
            The file cannot be written, or the classes are neither numbers nor strings.
        """
        check_is_fitted(self, "model_")
        persistence.write(self, path)

    def to_onnx(self, path: str | Path | None = None, *, training: bool = False) -> Any:
        """Export to ONNX: predictions, or one step of training, in programs without this library.

        Parameters
        ----------
        path : str or Path, optional
            The file to write. Default: none.
        training : bool
            Whether to export a step of training on a batch of ``batch_size`` (200 for "auto"), as
            `anyback_nn.Model.to_onnx` does. Default: what ``predict`` returns for the input ``x``,
            as the output ``prediction``; of a classifier also its ``probabilities``.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ExportError
            As for `anyback_nn.Model.to_onnx`, or L-BFGS was to be exported as a step.
        BackendUnavailableError
            The extra ``onnx`` is not installed.
        """
        check_is_fitted(self, "model_")
        from anyback_nn.onnx.graphs import write
        from anyback_nn.sklearn import export

        graph = export.export_estimator_step(self) if training else export.export_estimator(self)
        if path is not None:
            write(graph, path)
        return graph

    @classmethod
    def load(cls, path: str | Path, backend: str | Backend | None = None) -> Self:
        """Read a file that `save` wrote, wherever it was fitted.

        Parameters
        ----------
        path : str or Path
        backend : str or Backend, optional
            What computes from now on. Default: the estimator's own if it can be used here, else
            NumPy.

        Raises
        ------
        CheckpointError
            There is no such file, or it does not hold an estimator of this class.
        """
        estimator: Self = persistence.read(cls, path, backend)
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags
