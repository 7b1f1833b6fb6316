"""scikit-learn's regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor as SklearnRegressor
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from anyback_nn.array_api import Array, to_numpy
from anyback_nn.distributed import Communicator
from anyback_nn.network.losses import LOSSES, Loss, MeanSquaredError, Poisson
from anyback_nn.sklearn import inputs
from anyback_nn.sklearn.base import BaseMLP, is_stochastic
from anyback_nn.sklearn.convert import COUNTERPARTS

__all__ = ["MLPRegressor"]

_LIBRARY_LOSSES = {name: loss for name, loss in LOSSES.items() if not loss.classifies}


class MLPRegressor(RegressorMixin, BaseMLP):
    """scikit-learn's `MLPRegressor` on any backend: the same parameters, attributes and results.

    With the parameters that scikit-learn has too, training takes the same course as there, to
    rounding. Every other parameter is off by default.

    Parameters
    ----------
    loss : str or Loss
        ``"squared_error"`` (half the mean square), ``"poisson"``, the library's
        ``"mean_squared_error"``, ``"mean_absolute_error"``, ``"quantile"`` (the median) and
        ``"huber"``, or any loss that does not classify, such as ``Quantile(0.9)`` or your own; its
        ``link`` turns outputs into predictions.
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
        ``sample_weight``. Default: R2.
    callbacks : list of Callback, optional
        Callbacks of training; see `anyback_nn.Callback`. For L-BFGS, an iteration counts as an
        epoch, and there are no batches.
    progress : bool
        Whether to show progress: a bar on a terminal, else a line an epoch.
    distributed : Communicator, optional
        The processes that fit together, see `anyback_nn.distributed.init`; each predicts alone.

    Attributes
    ----------
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
    For several outputs, ``"adam"`` and ``"sgd"`` descend the sum of the outputs' squared errors and
    record their mean, as scikit-learn does. ``"lbfgs"`` minimises what is recorded (scikit-learn's
    gradient is too large by the number of outputs there).

    Small networks on a CPU train several times faster if NumPy computes in one thread: set
    ``OPENBLAS_NUM_THREADS=1`` in the environment before Python starts.

    As in scikit-learn, weights of samples count within their batch: they count less in very small
    batches, which hold few different ones.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> x, y = load_diabetes(return_X_y=True)
    >>> mlp = MLPRegressor(solver="lbfgs", hidden_layer_sizes=10, max_iter=100, tol=1e-2)
    >>> mlp.set_params(random_state=0).fit(x, scale(y)).score(x, scale(y)) > 0.5
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", *_LIBRARY_LOSSES}), Loss],
    }

    def __init__(
        self,
        loss: Any = "squared_error",
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

    _y_numeric = True

    def _encode(self, y: Any, *, first: bool, incremental: bool, classes: Any = None) -> Any:
        y = y.toarray() if issparse(y) else np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        n_outputs = 1 if y.ndim == 1 else int(y.shape[1])
        if first:
            self.n_outputs_ = n_outputs
        elif n_outputs != self.n_outputs_:
            raise ValueError(
                f"`y` has {n_outputs} outputs, but this estimator was fitted to {self.n_outputs_}"
            )
        return y

    def _choose_loss(self) -> tuple[Loss, float]:
        if isinstance(self.loss, Loss):
            if self.loss.classifies:
                raise ValueError(
                    f"loss: {type(self.loss).__name__} classifies. Use MLPClassifier, or a loss "
                    "for numbers"
                )
            return self.loss, 1.0
        if self.loss == "squared_error":
            return MeanSquaredError(), 0.5
        if self.loss == "poisson":
            # scikit-learn adds the outputs up, the library averages over them.
            return Poisson(), float(self.n_outputs_)
        return _LIBRARY_LOSSES[self.loss](), 1.0

    @property
    def _gradient_factor(self) -> float:
        # scikit-learn records the mean over the outputs and descends their sum.
        return float(self.n_outputs_) if self.loss == "squared_error" else 1.0

    def _score_of(self, outputs: Array, y: Any, weights: Any) -> float:
        predicted = to_numpy(self.model_.loss.link(outputs))
        if not np.all(np.isfinite(predicted)):
            return float("nan")
        return float(r2_score(y, predicted, sample_weight=weights))

    # Fitting

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
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

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=True)

    # Use

    def predict(self, X: Any) -> Array:
        """Predict the value of each sample, or of each of its outputs."""
        return self._compute(X, "predict", self._values)

    def _values(self, outputs: Array) -> Array:
        predicted = self.model_.loss.link(outputs)
        return predicted[:, 0] if self.n_outputs_ == 1 else predicted

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R2, the share of the variance of ``y`` that is explained."""
        y, predicted, weights = map(inputs.to_host, (y, self.predict(X), sample_weight))
        return float(r2_score(y, predicted, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


COUNTERPARTS[SklearnRegressor] = MLPRegressor
