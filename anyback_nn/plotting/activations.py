"""Activation functions and their derivatives, as the layers compute them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from anyback_nn.network.activations import ACTIVATIONS
from anyback_nn.network.layer import Layer
from anyback_nn.plotting.style import choose_colors, clear_frame, create_axes, divide, escape_math
from anyback_nn.utils.arguments import look_up

__all__ = ["ActivationsDisplay"]


class ActivationsDisplay:
    """Activation functions and their derivatives, a panel for each.

    The derivative is that of the layer's own ``backward``, for a gradient of 1. Softmax, which is
    not elementwise, is shown for the two inputs ``(z, 0)``: its first output, and the derivative of
    that by ``z``.

    Parameters
    ----------
    z : array, shape (n_points,)
    values, derivatives : dict of str to array
        For each activation, of shape (n_points,).

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        The axes that were divided into panels, and their figure.
    axes_ : ndarray of Axes, shape (n_activations,)

    Examples
    --------
    >>> import anyback_nn as nn
    >>> display = nn.plotting.ActivationsDisplay.from_activations(["tanh"], z=[0.0])
    >>> display.values["tanh"].tolist(), display.derivatives["tanh"].tolist()
    ([0.0], [1.0])
    """

    def __init__(
        self, *, z: Any, values: Mapping[str, Any], derivatives: Mapping[str, Any]
    ) -> None:
        self.z = np.asarray(z)
        self.values, self.derivatives = dict(values), dict(derivatives)

    @classmethod
    def from_activations(
        cls,
        activations: str | Iterable[str] | Mapping[str, Layer] | None = None,
        *,
        z: Any = None,
        ax: Any = None,
    ) -> ActivationsDisplay:
        """Draw activations.

        Parameters
        ----------
        activations : str, iterable of str, or mapping of str to Layer, optional
            A name or names in `anyback_nn.ACTIVATIONS`, or layers without parameters under names of
            yours. Default: all of the table.
        z : array, shape (n_points,), optional
            The inputs. Default: from -4 to 4.
        ax : Axes, optional
            Where to draw. Default: a new figure.
        """
        if not isinstance(activations, Mapping):
            names = [activations] if isinstance(activations, str) else activations or ACTIVATIONS
            activations = {name: look_up(name, ACTIVATIONS, "activation")() for name in names}
        z = np.linspace(-4.0, 4.0, 401) if z is None else np.asarray(z, dtype=float)
        x = np.stack([z, np.zeros_like(z)], axis=1)
        dy = np.stack([np.ones_like(z), np.zeros_like(z)], axis=1)
        values, derivatives = {}, {}
        for name, layer in activations.items():
            y, cache = layer.forward({}, x)
            values[name] = np.array(y[:, 0])
            derivatives[name] = np.array(layer.backward({}, cache, dy)[0][:, 0])
        return cls(z=z, values=values, derivatives=derivatives).plot(ax)

    def plot(self, ax: Any = None) -> ActivationsDisplay:
        """Draw, by default in a new figure."""
        n = len(self.values)
        n_columns = math.ceil(math.sqrt(n * 4 / 3)) if n > 3 else n
        n_rows = math.ceil(n / n_columns)
        self.ax_ = create_axes(ax, (0.25 + 0.35 * n_columns, 0.3 + 0.4 * n_rows))
        self.figure_ = self.ax_.figure
        panels = divide(self.ax_, n_rows, n_columns).ravel()
        self.axes_ = panels[:n]
        for panel in panels[n:]:
            panel.set_axis_off()
        value_color, derivative_color = choose_colors(2)
        for panel, name in zip(self.axes_, self.values):
            panel.axhline(0.0, color="gray", linewidth=0.6, alpha=0.6)
            panel.axvline(0.0, color="gray", linewidth=0.6, alpha=0.6)
            panel.plot(self.z, self.values[name], color=value_color, label="a = g(z)")
            panel.plot(
                *(self.z, self.derivatives[name]),
                color=derivative_color,
                label="g'(z)",
                linestyle="--",
            )
            of_two = " of (z, 0)" if name == "softmax" else ""
            panel.set_title(escape_math(name.replace("_", " ")) + of_two)
            clear_frame(panel)
        for panel in panels[max(n - n_columns, 0) : n]:
            panel.set_xlabel("z")
        handles, labels = self.axes_[0].get_legend_handles_labels()
        if n < len(panels):
            panels[-1].legend(handles, labels, loc="center", frameon=False)
        else:
            self.axes_[0].legend(frameon=False)
        return self
