"""scikit-learn's classifier."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, issparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.utils import column_or_1d, compute_class_weight, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    check_classification_targets,
    type_of_target,
    unique_labels,
)

from anyback_nn.array_api import Array, array_namespace, find_index_dtype, is_numpy, to_numpy
from anyback_nn.backends import select_for
from anyback_nn.distributed import Communicator
from anyback_nn.network.activations import log_sum_exp, softplus
from anyback_nn.network.losses import (
    BinaryCrossEntropy,
    Loss,
    ProbabilityCrossEntropy,
    SoftmaxCrossEntropy,
)
from anyback_nn.sklearn import inputs
from anyback_nn.sklearn.base import BaseMLP, is_stochastic
from anyback_nn.sklearn.convert import COUNTERPARTS

__all__ = ["MLPClassifier"]


class MLPClassifier(ClassifierMixin, BaseMLP):
    """scikit-learn's `MLPClassifier` on any backend: the same parameters, attributes and results.

    With the parameters that scikit-learn has too, training takes the same course as there, to
    rounding. Every other parameter is off by default.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Number of units of each hidden layer; ``()`` for none.
    activation : str, Activation or list of them
        Activation of the hidden layers: ``"identity"``, ``"logistic"``, ``"tanh"``,
        ``"relu"``, ``"leaky_relu"``, ``"elu"``, ``"selu"``, ``"gelu"``, ``"silu"``,
        ``"softplus"``, or a layer such as ``LeakyReLU(0.2)``. A list has one for each hidden layer.
    solver : {"adam", "sgd", "lbfgs"}
        ``"lbfgs"`` is a quasi-Newton method on all samples at once, good for small data.
    alpha : float
        Strength of the L2 penalty on the weights, ``alpha / (2 n) sum w^2`` with ``n`` the samples
        of a batch (or the sum of their weights): it depends on the batch size.
    batch_size : int or "auto"
        ``"auto"`` is ``min(200, n_samples)``. Not used by L-BFGS.
    learning_rate : {"constant", "invscaling", "adaptive"}
        Schedule of ``"sgd"``: the rate stays; falls as ``learning_rate_init / t^power_t``, with
        ``t`` the samples seen; or is divided by 5 whenever training stagnates.
    learning_rate_init : float
        Initial learning rate.
    power_t : float
        Exponent of ``"invscaling"``.
    max_iter : int
        Maximum number of epochs, or of iterations of L-BFGS.
    shuffle : bool
        Whether each epoch takes the samples in a new order.
    random_state : int, RandomState or None
        Seed or generator of the first weights, the validation split, the order of samples and the
        dropout masks, the same on all backends. Without dropout and ``layers``, the same numbers
        are drawn as by scikit-learn.
    tol : float
        Smallest change of the loss or the score that counts as an improvement; for L-BFGS the size
        of the gradient at which it ends.
    verbose : bool
        Whether to print the loss of each epoch.
    warm_start : bool
        Whether `fit` resumes from the weights of the last call.
    momentum : float
        Momentum of ``"sgd"``, from 0 to 1.
    nesterovs_momentum : bool
        Whether ``"sgd"`` uses Nesterov's momentum.
    early_stopping : bool
        Whether to end training when the score on held-out data no longer improves, and to restore
        the best weights, also of a run that diverged. Otherwise the training loss decides.
    validation_fraction : float
        Share of the samples that early stopping holds out.
    beta_1, beta_2, epsilon : float
        Settings of ``"adam"``.
    n_iter_no_change : int
        Number of epochs without an improvement that are accepted.
    max_fun : int
        Maximum number of evaluations of the loss by L-BFGS.
    backend : str or Backend
        Library and device that compute: ``"numpy"``, ``"cupy"``, ``"torch:cuda:0"``, ... With
        ``"auto"``, arrays of other libraries than NumPy are computed on where they are, and
        NumPy's arrays, tables and sparse matrices by NumPy, or by the backend that the environment
        variable ``ANYBACK_NN_BACKEND`` names. Results are arrays of the input's library.
    dtype : {"float32", "float64"}, optional
        Dtype of weights and computation. Default: that of the input; for integers float64 if they
        are on the host, and float32 if they are arrays of another library. For inputs on the host,
        L-BFGS computes in float64, as in scikit-learn.
    layers : list of Layer, optional
        The whole network with its output layer, instead of ``hidden_layer_sizes``,
        ``activation``, ``dropout`` and ``batch_norm``. The layers draw their own first weights.
    dropout : float or list of float
        Probability that a hidden unit is set to zero in training, for each hidden layer.
    batch_norm : bool
        Whether each hidden layer is normalised over the batch, before its activation.
    loss : str or Loss
        ``"log_loss"`` is ``"softmax_cross_entropy"`` for several classes, else
        ``"binary_cross_entropy"``; or any loss that classifies, your own too. A loss of yours gets
        class indices and one output per class; for `predict_proba` it needs a ``link`` from
        outputs to probabilities.
    label_smoothing : float
        Share of each target that is spread over all classes.
    class_weight : "balanced", dict or list of dict, optional
        Weight of each class, by its label; multiplied by ``sample_weight``. For several
        labels, a list with a dict of the weights of 0 and 1 for each.
    optimizer : str or Optimizer, optional
        One of `anyback_nn.OPTIMIZERS`, instead of ``solver`` and its parameters, which is refused
        with ``solver="sgd"`` and ``"lbfgs"``.
    schedule : Schedule, optional
        Learning rate as a function of the epoch, instead of ``learning_rate`` and
        ``learning_rate_init``. There is no warning of `max_iter` once it has ended, such as
        ``CosineDecay(0.01, epochs=200)``. Refused with L-BFGS.
    clip_norm : float, optional
        Largest norm of the gradient, penalty included: a longer one is scaled down to it. Refused
        with L-BFGS.
    l2_per_sample : float
        Strength of an L2 penalty that is the same for every batch size, ``l2_per_sample / 2 sum
        w^2``, in addition to ``alpha``.
    average_weights : float, optional
        Decay of the exponential moving average of the weights over the steps, such as 0.999, with
        which to predict. Refused with L-BFGS.
    validation_data : tuple, optional
        ``(X, y)`` or ``(X, y, sample_weight)``, scored after each epoch. In a pipeline, ``X`` must
        have been transformed by the earlier steps.
    early_stopping_metric : str or callable, optional
        Scorer of early stopping, as scikit-learn takes it: ``"roc_auc"``, or a function
        ``(estimator, X, y)``. It needs ``early_stopping=True`` or ``validation_data``, and gets
        the validation data on the host, with their weights if it has a parameter
        ``sample_weight``. Default: accuracy.
    callbacks : list of Callback, optional
        Callbacks of training; see `anyback_nn.Callback`. For L-BFGS, an iteration counts as an
        epoch, and there are no batches.
    progress : bool
        Whether to show progress: a bar on a terminal, else a line an epoch.
    distributed : Communicator, optional
        The processes that fit together, see `anyback_nn.distributed.init`; each predicts alone.

    Attributes
    ----------
    classes_ : numpy.ndarray
        The labels.
    coefs_, intercepts_ : list of array
        Weights, of shape (n_in, n_out), and biases of the dense layers.
    loss_, best_loss_ : float
        The last loss and the lowest one (None with early stopping).
    loss_curve_ : list of float
        The loss of each epoch (or iteration), penalty included.
    validation_scores_, validation_curve_ : list of float or None
        Score and loss on the held-out data after each epoch; the loss is without penalty.
    best_validation_score_ : float or None
    converged_ : bool
        Whether training ended before ``max_iter`` because it no longer improved.
    n_iter_, t_ : int
        Epochs of the last call, and samples seen in all calls.
    n_layers_, n_outputs_, n_features_in_ : int
    feature_names_in_ : numpy.ndarray
        The names of the columns of a table.
    out_activation_ : str
        The link of the loss.
    model_ : Model
        The network with its parameters; ``model_.history`` has all metrics.

    Notes
    -----
    Small networks on a CPU train several times faster if NumPy computes in one thread: set
    ``OPENBLAS_NUM_THREADS=1`` in the environment before Python starts.

    As in scikit-learn, weights of samples count within their batch: they count less in very small
    batches, which hold few different ones.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> x, x_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    >>> mlp = MLPClassifier(dropout=0.1, early_stopping=True, random_state=0)
    >>> mlp.fit(x, y).score(x_test, y_test) > 0.95
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"log_loss", "binary_cross_entropy", "softmax_cross_entropy"}), Loss],
        "class_weight": [None, dict, list, StrOptions({"balanced"})],
        "label_smoothing": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
        backend: Any = "auto",
        dtype: str | None = None,
        layers: Any = None,
        dropout: Any = 0.0,
        batch_norm: bool = False,
        loss: Any = "log_loss",
        label_smoothing: float = 0.0,
        class_weight: Any = None,
        optimizer: Any = None,
        schedule: Any = None,
        clip_norm: float | None = None,
        l2_per_sample: float = 0.0,
        average_weights: float | None = None,
        validation_data: Any = None,
        early_stopping_metric: Any = None,
        callbacks: Any = None,
        progress: bool = False,
        distributed: Communicator | None = None,
    ) -> None:
        self._store(locals())

    # Targets

    def _encode(self, y: Any, *, first: bool, incremental: bool, classes: Any = None) -> Any:
        kind = type_of_target(y, input_name="y")
        multilabel = kind == "multilabel-indicator"
        if not multilabel and (issparse(y) or kind not in ("binary", "multiclass")):
            check_classification_targets(y)  # raises scikit-learn's own error for numbers
            raise ValueError(
                f"expected one class a sample or a matrix of 0 and 1 for several labels, got {kind}"
            )
        if not multilabel:
            y = column_or_1d(y, warn=True)
        if first:
            self._begin_classes(y, multilabel, incremental, classes)
        else:
            self._check_classes(y, multilabel, incremental, classes)
        if multilabel:
            y = y.toarray() if issparse(y) else np.asarray(y)
            if not incremental:
                _warn_of_one_hot(y)
            return y
        return np.searchsorted(self.classes_, y)

    def _begin_classes(self, y: Any, multilabel: bool, incremental: bool, classes: Any) -> None:
        """Set the classes and the number of outputs."""
        if incremental and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        self._multilabel, self._sparse_labels = multilabel, issparse(y)
        if multilabel:
            self.classes_ = np.arange(y.shape[1])
            if classes is not None and len(classes) != y.shape[1]:
                raise ValueError(
                    f"`y` has classes not in `self.classes_`: it has {y.shape[1]} labels, and "
                    f"classes names {len(classes)}."
                )
        else:
            self.classes_ = unique_labels(y if classes is None else inputs.to_host(classes))
            if classes is not None:
                self._check_classes(y, multilabel, incremental=True, classes=None)
        self.n_outputs_ = self._needed_outputs()

    def _needed_outputs(self) -> int:
        """Return how many outputs the loss needs."""
        loss, n_classes = self._choose_loss()[0], len(self.classes_)
        if not isinstance(loss, BinaryCrossEntropy | ProbabilityCrossEntropy) or self._multilabel:
            return n_classes
        if n_classes > 2:
            raise ValueError(
                f"loss: {type(loss).__name__} is for two classes or several labels, but there "
                f"are {n_classes} classes. Use loss='log_loss'"
            )
        return 1

    def _check_classes(self, y: Any, multilabel: bool, incremental: bool, classes: Any) -> None:
        """Check the classes against those of earlier calls."""
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            raise ValueError(
                "`y` has another number of labels than in the call before: expected "
                f"{len(self.classes_)}{' labels' if self._multilabel else ' classes'}, got "
                f"{type_of_target(y)}"
            )
        if hasattr(self, "model_") and self._needed_outputs() != self.n_outputs_:
            raise ValueError(
                f"loss: {type(self._choose_loss()[0]).__name__} needs another number of outputs, "
                f"{self._needed_outputs()}, than the fitted network has, {self.n_outputs_}. To "
                "begin again, call fit with warm_start=False"
            )
        if classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        if multilabel:
            return
        labels = np.unique(y)
        if self.warm_start and not incremental and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {labels}"
            )
        if len(np.setdiff1d(labels, self.classes_)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {labels}."
            )

    def _choose_loss(self) -> tuple[Loss, float]:
        loss, smoothing = self.loss, float(self.label_smoothing)
        binary = self._multilabel or len(self.classes_) <= 2
        if isinstance(loss, Loss):
            if not loss.classifies:
                raise ValueError(
                    f"loss: {type(loss).__name__} does not classify (its `classifies` is "
                    "False). Use MLPRegressor"
                )
            if smoothing:
                raise ValueError("label_smoothing: give it to the loss that you pass")
            if isinstance(loss, ProbabilityCrossEntropy) and self.layers is None:
                raise ValueError(
                    "loss: ProbabilityCrossEntropy takes probabilities, and the network gives "
                    "logits. Use loss='log_loss', or layers=[..., Dense(1), Sigmoid()]"
                )
        elif loss == "binary_cross_entropy" or (loss == "log_loss" and binary):
            # scikit-learn adds the labels up, the library averages over them.
            factor = len(self.classes_) if self._multilabel else 1
            return BinaryCrossEntropy(smoothing), float(factor)
        else:
            loss = SoftmaxCrossEntropy(smoothing)
        if self._multilabel and isinstance(loss, SoftmaxCrossEntropy):
            raise ValueError(f"loss={self.loss!r} is not for several labels. Use loss='log_loss'")
        return loss, 1.0

    @property
    def _stratifies(self) -> bool:
        # Of several classes, scikit-learn splits without regard to them.
        return self.n_outputs_ == 1 and not self._multilabel

    def _with_class_weight(self, weights: Any, labels: Any, incremental: bool) -> Any:
        class_weight = self.class_weight
        if class_weight is None:
            return weights
        if incremental and class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit, which does not know all "
                "samples. Compute it with sklearn.utils.compute_class_weight and pass it as a dict"
            )
        if isinstance(class_weight, list) is not self._multilabel and class_weight != "balanced":
            raise ValueError(
                "class_weight: expected 'balanced' or a list with one dict of the weights of 0 and "
                f"1 for each of the {len(self.classes_)} labels, got {class_weight!r}"
                if self._multilabel
                else "class_weight: expected 'balanced' or a dict of class to weight (a list of "
                f"dicts is for several labels), got {class_weight!r}"
            )
        if not self._multilabel:
            factors = self._weights_of(class_weight, self.classes_, self.classes_[labels])[labels]
        elif class_weight == "balanced":
            factors = compute_sample_weight(class_weight, labels)
        else:
            if len(class_weight) != labels.shape[1]:
                raise ValueError(
                    f"class_weight: expected one dict for each of the {labels.shape[1]} labels, "
                    f"got {len(class_weight)}"
                )
            values = np.asarray([0, 1])
            each = [self._weights_of(own, values, values) for own in class_weight]
            factors = np.prod([own[y] for own, y in zip(each, labels.T.astype(int))], axis=0)
        return factors if weights is None else factors * weights

    def _weights_of(self, given: Any, classes: Any, y: Any) -> Any:
        """Compute the weight of each class."""
        weights = compute_class_weight(given, classes=classes, y=y)
        if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
            raise ValueError(
                "class_weight: expected weights that are finite and 0 or greater, at least one of "
                f"them above 0, got {given!r}"
            )
        return weights

    def _score_of(self, outputs: Array, y: Any, weights: Any) -> float:
        decided = to_numpy(self.model_.loss.decide(outputs))
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        return float(accuracy_score(y.astype(int), decided.astype(int), sample_weight=weights))

    # Fitting

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train for one epoch on the data, resuming where the last call ended.

        With ``early_stopping``, every call scores ``validation_data``, or else a part of its own
        data that it holds out. Once the score has not improved in more than ``n_iter_no_change``
        calls, the best weights are restored and ``converged_`` is True. After that, a call changes
        nothing and warns of it. After a `fit` that early stopping has ended, it is refused.

        The optimiser resumes, unless one of ``optimizer``, ``schedule``, ``clip_norm`` and
        ``average_weights`` has changed: then a new one begins.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like, optional
            All classes that later calls may have; needed in the first call.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    # Use

    def predict(self, X: Any) -> Array:
        """Predict the class of each sample, or 0 and 1 for each of several labels."""
        decided = self._compute(X, "predict", self._decide)
        if self._multilabel:
            if not is_numpy(X):
                return decided
            decided = decided.reshape(-1, len(self.classes_)).astype(int)
            return csr_matrix(decided) if self._sparse_labels else decided
        last = len(self.classes_) - 1
        if is_numpy(X) or self.classes_.dtype.kind not in "biuf":
            return self.classes_[np.minimum(to_numpy(decided), last)]
        return self._look_up(decided, select_for(X).asarray(self.classes_))

    def _look_up(self, decided: Array, classes: Array) -> Array:
        """Return the class of each sample, of an array of the same library with all of them."""
        xp = array_namespace(decided)
        index = xp.minimum(decided, len(self.classes_) - 1)
        return xp.take(classes, xp.astype(index, find_index_dtype(xp)), axis=0)

    def _decide(self, outputs: Array) -> Array:
        return self.model_.loss.decide(outputs)

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class, in the order of ``classes_``."""
        return self._compute(X, "predict_proba", self._probabilities)

    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithm of the probability of each class: finite where that rounds to 0."""
        return self._compute(X, "predict_log_proba", self._log_probabilities)

    def _probabilities(self, outputs: Array) -> Array:
        probabilities = self.model_.loss.link(outputs)
        if self._multilabel or self.n_outputs_ > 1:
            return probabilities
        xp = array_namespace(outputs)
        both = xp.concat([1.0 - probabilities, probabilities], axis=-1)
        return both if len(self.classes_) == 2 else xp.ones_like(probabilities)

    def _log_probabilities(self, outputs: Array) -> Array:
        loss, xp = self.model_.loss, array_namespace(outputs)
        if isinstance(loss, SoftmaxCrossEntropy):
            return outputs - log_sum_exp(outputs)
        if not isinstance(loss, BinaryCrossEntropy):
            return xp.log(self._probabilities(outputs))
        if self._multilabel:
            # Those that round to 1 keep their order; below, the logarithm is exact.
            probabilities = xp.maximum(loss.link(outputs), 0.5)
            return xp.where(probabilities > 0.5, xp.log(probabilities), -softplus(-outputs))
        both = xp.concat([-softplus(outputs), -softplus(-outputs)], axis=-1)
        return both if len(self.classes_) == 2 else xp.zeros_like(outputs)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the share of samples whose class is right, or all of whose labels are."""
        y, predicted, weights = map(inputs.to_host, (y, self.predict(X), sample_weight))
        return float(accuracy_score(y, predicted, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _warn_of_one_hot(y: Any) -> None:
    """Warn of labels that look like one-hot rows of classes."""
    if y.shape[1] > 1 and (y.sum(axis=1) == 1).all() and (y != y[:1]).any():
        warnings.warn(
            f"y: each row has one 1 and {y.shape[1] - 1} zeros, as one-hot rows of classes have, "
            "and is taken as several labels that are predicted independently, as in scikit-learn. "
            "If they are classes, pass y.argmax(axis=1)",
            stacklevel=8,
        )


COUNTERPARTS[SklearnClassifier] = MLPClassifier
