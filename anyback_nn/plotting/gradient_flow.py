"""How large the gradient of each layer is: whether it vanishes or explodes on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.inputs.batches import move
from anyback_nn.plotting.models import encode_classes, find_model
from anyback_nn.plotting.style import choose_colors, clear_frame, create_axes
from anyback_nn.random import Random, generator
from anyback_nn.training.fit import check_arrays
from anyback_nn.training.step import StepArguments, value_and_grad
from anyback_nn.tree import tree_named_leaves

__all__ = ["GradientFlowDisplay", "gradient_norms"]


def gradient_norms(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    """Compute the norm of each layer's gradient, for a batch, as in a step of training.

    The gradient is that of the mean loss, without penalties; dropout draws the masks of the epoch.
    Nothing is changed.

    Parameters
    ----------
    estimator : Model or estimator
    X : array, shape (n_samples, n_features)
    y : array, shape (n_samples,) or (n_samples, n_outputs)

    Returns
    -------
    dict of str to float
        For each layer with parameters, such as ``"0 Dense(16)"``, the square root of the sum of all
        squares.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> model = nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> list(gradient_norms(model.build(2), x, y))
    ['0 Dense(4)', '2 Dense(2)']
    """
    model = find_model(estimator)
    with model.lock, model.backend.scope(model.dtype):
        rows = check_arrays(model, X, encode_classes(estimator, y), None)
        batch = move(rows, model.backend, model.dtype)
        random = generator(model.seed, "noise", model.training.epoch)
        noise = model.network.noise(batch.x.shape, Random(random, model.backend, model.dtype))
        params, state = model.layout.unpack(model.training.params), model.training.state
        derive = value_and_grad(model.network, model.loss)
        grads, _, _ = derive(StepArguments(params, {}, state, (), (), *batch, noise))
        norms = {}
        for position, (layer, own) in enumerate(zip(model.network.layers, grads)):
            arrays = [to_numpy(array) for array in tree_named_leaves(own).values()]
            if arrays:
                size = f"({layer.n_out})" if hasattr(layer, "n_out") else ""
                squares = sum(float(np.square(a, dtype=np.float64).sum()) for a in arrays)
                norms[f"{position} {type(layer).__name__}{size}"] = squares**0.5
    return norms


class GradientFlowDisplay:
    """The norm of each layer's gradient: of one batch as bars, of several epochs as lines.

    Parameters
    ----------
    names : sequence of str, length n_layers
        The layers, from the input to the output.
    norms : array, shape (n_layers,) or (n_epochs, n_layers)
    epochs : array, shape (n_epochs,), optional
        Default: counted from 1.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
    artists_ : list
        The bars, or the lines.

    Examples
    --------
    Over the epochs, the norms are those that a callback has computed after each:

    >>> import anyback_nn as nn
    >>> x, y = nn.datasets.make_moons(100, seed=0)
    >>> norms = []
    >>> class Watch(nn.Callback):
    ...     def on_epoch_end(self, fit):
    ...         norms.append(nn.plotting.gradient_norms(fit.model, x, y))
    >>> model = nn.Model(nn.Dense(4), nn.Tanh(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> history = model.fit(x, y, epochs=3, callbacks=[Watch()])
    >>> display = nn.plotting.GradientFlowDisplay.from_norms(norms)
    >>> display.norms.shape, display.names
    ((3, 2), ['0 Dense(4)', '2 Dense(2)'])
    """

    def __init__(self, *, names: Sequence[str], norms: Any, epochs: Any = None) -> None:
        self.names, self.norms = list(names), np.asarray(norms, dtype=float)
        if epochs is None and self.norms.ndim == 2:
            epochs = np.arange(1, len(self.norms) + 1)
        self.epochs = None if epochs is None else np.asarray(epochs)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, ax: Any = None
    ) -> GradientFlowDisplay:
        """Draw the norms of one batch, see `gradient_norms`."""
        norms = gradient_norms(estimator, X, y)
        return cls(names=list(norms), norms=list(norms.values())).plot(ax)

    @classmethod
    def from_norms(
        cls, norms: Sequence[dict[str, float]], *, epochs: Any = None, ax: Any = None
    ) -> GradientFlowDisplay:
        """Draw the results of `gradient_norms` of several epochs."""
        if not norms:
            raise ValueError("norms: expected those of at least one epoch, got none")
        names = list(norms[0])
        table = [[row[name] for name in names] for row in norms]
        return cls(names=names, norms=table, epochs=epochs).plot(ax)

    def plot(self, ax: Any = None) -> GradientFlowDisplay:
        """Draw, by default in a new figure."""
        n = len(self.names)
        over_epochs = self.norms.ndim == 2
        self.ax_ = create_axes(ax, (1.0, 0.75 if over_epochs else min(0.3 + 0.08 * n, 1.5)))
        self.figure_ = self.ax_.figure
        # A logarithm has no place for gradients that are exactly 0, such as those of dead units.
        norms = np.where(self.norms > 0, self.norms, np.nan)
        clear_frame(self.ax_)
        if over_epochs:
            self._draw_lines(norms)
        else:
            self._draw_bars(norms)
        return self

    def _draw_bars(self, norms: np.ndarray) -> None:
        ax, places = self.ax_, np.arange(len(self.names))
        ax.set_xscale("log")
        known = norms[np.isfinite(norms)]
        # Bars on a logarithmic axis begin somewhere: points do not, and their stems guide the eye.
        low, high = (known.min(), known.max()) if known.size else (0.1, 1.0)
        left, right = 10.0 ** np.floor(np.log10(low / 2)), 10.0 ** np.ceil(np.log10(high * 1.1))
        color = choose_colors(1)[0]
        ax.hlines(places, left, norms, color=[color], linewidth=2, alpha=0.5)
        self.artists_ = list(ax.plot(norms, places, "o", color=color))
        ax.set_xlim(left, right)
        ax.xaxis.set_minor_formatter("")
        ax.set_yticks(places, [f"{x} (0)" if v == 0 else x for x, v in zip(self.names, self.norms)])
        ax.set_ylim(len(self.names) - 0.5, -0.5)
        ax.set_xlabel("norm of the gradient")
        ax.grid(axis="x", alpha=0.3)

    def _draw_lines(self, norms: np.ndarray) -> None:
        import matplotlib as mpl

        ax, n = self.ax_, len(self.names)
        # In the order of the layers, so that a fan of lines shows what vanishes.
        colors = mpl.colormaps["viridis"](np.linspace(0.2, 0.85, n))
        ax.set_yscale("log")
        self.artists_ = []
        for values, name, color in zip(norms.T, self.names, colors):
            marker = "o" if len(values) == 1 else ""
            self.artists_ += ax.plot(self.epochs, values, color=color, label=name, marker=marker)
        ax.set(xlabel="epoch", ylabel="norm of the gradient")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="y", alpha=0.3)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
