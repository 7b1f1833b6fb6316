"""The units and connections of a small network, or the layers of a large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.network.layers import Dense
from anyback_nn.network.network import Network
from anyback_nn.plotting.models import find_model
from anyback_nn.plotting.style import choose_colors, create_axes
from anyback_nn.tree import tree_named_leaves
from anyback_nn.utils.messages import plural

__all__ = ["Column", "NetworkDiagramDisplay"]

MAX_WIDTH = 4.0
"""The width of the line of the largest weight, in points."""


@dataclass(frozen=True)
class Column:
    """A layer that has units of its own, with those after it that have none, such as activations.

    Attributes
    ----------
    names : tuple of str
        The names of the layers.
    n_units : int
    n_params : int
        The number of all their parameters.
    weight : ndarray, shape (n_units of the column before, n_units), optional
        The weights of a dense layer.
    """

    names: tuple[str, ...]
    n_units: int
    n_params: int = 0
    weight: Any = None


class NetworkDiagramDisplay:
    """The units and connections of a small network, or the layers of a large one as boxes.

    The width of a line is the size of its weight, and its colour the sign.

    Parameters
    ----------
    columns : sequence of Column
        From the input to the output.
    max_units : int
        A network with a larger layer is drawn as boxes, as is one with a block or with another
        layer whose connections are unknown.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
    units_ : list of ndarray, shape (n_units, 2)
        The places of all units of each column; empty for boxes.
    connections_ : list of LineCollection
        Between two columns each; empty for boxes.
    boxes_ : list of FancyBboxPatch
        Empty for units.

    Examples
    --------
    >>> import anyback_nn as nn
    >>> model = nn.Model(nn.Dense(3), nn.Tanh(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    >>> display = nn.plotting.NetworkDiagramDisplay.from_estimator(model.build(4))
    >>> [(column.n_units, column.names) for column in display.columns]
    [(4, ('input',)), (3, ('Dense', 'Tanh')), (2, ('Dense',))]
    """

    def __init__(self, *, columns: Sequence[Column], max_units: int = 16) -> None:
        self.columns, self.max_units = tuple(columns), max_units

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, max_units: int = 16, ax: Any = None
    ) -> NetworkDiagramDisplay:
        """Draw the network of a model that has parameters, or of a fitted estimator.

        Parameters
        ----------
        estimator : Model or estimator
        max_units : int
            The largest layer whose units are drawn.
        ax : Axes, optional
            Where to draw. Default: a new figure.
        """
        model = find_model(estimator)
        columns = [Column(("input",), model.n_inputs)]
        for layer, n_units, own in zip(
            model.network.layers, model.network.sizes(model.n_inputs)[1:], model.params
        ):
            arrays = tree_named_leaves(own)
            n_params, last = sum(int(np.prod(a.shape)) for a in arrays.values()), columns[-1]
            name = type(layer).__name__
            if isinstance(layer, Dense):
                weight = to_numpy(own["weight"])
                columns.append(Column((name,), n_units, n_params, weight))
            elif isinstance(layer, Network) or n_units != last.n_units:
                columns.append(Column((name,), n_units, n_params))
            else:
                names = (*last.names, name)
                columns[-1] = Column(names, n_units, last.n_params + n_params, last.weight)
        return cls(columns=columns, max_units=max_units).plot(ax)

    @property
    def is_small(self) -> bool:
        """Whether units and connections are drawn."""
        are_known = all(column.weight is not None for column in self.columns[1:])
        return are_known and max(column.n_units for column in self.columns) <= self.max_units

    def plot(self, ax: Any = None) -> NetworkDiagramDisplay:
        """Draw, by default in a new figure."""
        n, most = len(self.columns), max(column.n_units for column in self.columns)
        height = 0.35 + 0.055 * min(most, self.max_units) if self.is_small else 0.6
        self.ax_ = create_axes(ax, (0.15 + 0.25 * n, height))
        self.figure_ = self.ax_.figure
        self.units_: list[np.ndarray] = []
        self.connections_: list[Any] = []
        self.boxes_: list[Any] = []
        self.ax_.set_axis_off()
        self.ax_.set_xlim(-0.6, n - 0.4)
        if self.is_small:
            self._draw_units(most)
        else:
            self._draw_boxes()
        return self

    def _draw_units(self, most: int) -> None:
        import matplotlib as mpl
        from matplotlib.collections import LineCollection

        ax, text = self.ax_, mpl.rcParams["text.color"]
        # The first unit at the top, and all columns about the same middle.
        self.units_ = [
            np.stack([np.full(n, float(i)), (n - 1) / 2 - np.arange(n)], axis=1)
            for i, n in enumerate(column.n_units for column in self.columns)
        ]
        largest = max(float(np.abs(column.weight).max()) for column in self.columns[1:]) or 1.0
        colors = choose_colors(2)
        for before, after, column in zip(self.units_, self.units_[1:], self.columns[1:]):
            weight = column.weight.ravel()
            starts, ends = np.repeat(before, len(after), axis=0), np.tile(after, (len(before), 1))
            strength = np.abs(weight) / largest
            rgba = np.column_stack([colors[(weight < 0).astype(int)], 0.25 + 0.65 * strength])
            lines = LineCollection(
                list(np.stack([starts, ends], axis=1)),
                linewidths=MAX_WIDTH * strength,
                colors=rgba,
                zorder=1,
            )
            self.connections_.append(ax.add_collection(lines))
        for places in self.units_:
            ax.scatter(*places.T, s=110, color=[ax.get_facecolor()], edgecolors=[text], zorder=2)
        ax.set_ylim(-most / 2 - 0.3, most / 2 + 0.3)
        for i, column in enumerate(self.columns):
            ax.annotate(
                "\n".join((f"{column.n_units}", *column.names)),
                (i, -most / 2),
                ha="center",
                va="top",
                annotation_clip=False,
            )
        for color, sign in zip(colors, ("positive weight", "negative weight")):
            ax.plot([], [], color=color, linewidth=MAX_WIDTH / 2, label=sign)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)

    def _draw_boxes(self) -> None:
        import matplotlib as mpl
        from matplotlib.patches import FancyBboxPatch

        ax, text = self.ax_, mpl.rcParams["text.color"]
        (color,) = choose_colors(1)
        heights = [0.35 + 0.2 * np.log10(column.n_units) for column in self.columns]
        for i, (column, height) in enumerate(zip(self.columns, heights)):
            box = FancyBboxPatch(
                (i - 0.3, -height / 2),
                0.6,
                height,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=(*color, 0.25),
                edgecolor=color,
            )
            self.boxes_.append(ax.add_patch(box))
            ax.text(i, 0.0, f"{column.n_units:,}", ha="center", va="center", weight="bold")
            names = "\n".join(column.names)
            ax.text(i, height / 2 + 0.04, names, ha="center", va="bottom")
            if column.n_params:
                count = plural(column.n_params, "parameter").replace(" ", "\n")
                ax.text(
                    *(i, -height / 2 - 0.04, count),
                    ha="center",
                    va="top",
                    fontsize="small",
                    alpha=0.8,
                )
            if i:
                ax.annotate(
                    *("", (i - 0.3, 0.0), (i - 0.7, 0.0)),
                    arrowprops={"arrowstyle": "->", "color": text, "shrinkA": 1, "shrinkB": 1},
                )
        lines = max(len(column.names) for column in self.columns)
        ax.set_ylim(-max(heights) / 2 - 0.35, max(heights) / 2 + 0.1 + 0.13 * lines)
