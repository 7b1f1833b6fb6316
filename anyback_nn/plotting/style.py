"""What all pictures share: axes, panels, and the colours of the style."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback_nn.errors import AnybackError
from anyback_nn.plotting.surface import distinct_colors
from anyback_nn.utils.arguments import require_extra

__all__ = ["choose_colors", "clear_frame", "create_axes", "divide", "escape_math"]


def create_axes(ax: Any = None, scale: tuple[float, float] = (1.0, 1.0)) -> Any:
    """Return the axes to draw on: those that are given, or those of a new figure of pyplot.

    ``scale`` is the size of the new figure in units of the default size.

    Raises
    ------
    AnybackError
        Matplotlib is not installed; the message says how to install it.
    """
    require_extra("matplotlib", "plot", "drawing", AnybackError)
    if ax is not None:
        return ax
    from matplotlib import pyplot

    size = np.multiply(pyplot.rcParams["figure.figsize"], scale)
    return pyplot.subplots(figsize=size, layout="constrained")[1]


def divide(ax: Any, n_rows: int, n_columns: int) -> np.ndarray:
    """Return panels in the place of axes, which are hidden then.

    Returns
    -------
    ndarray of Axes, shape (n_rows, n_columns)

    Raises
    ------
    ValueError
        The axes were placed by hand, and have no cell of a grid to divide.
    """
    cell = ax.get_subplotspec()
    if cell is None:
        raise ValueError(
            "the picture has several panels: expected axes of figure.subplots() or "
            "figure.add_subplot(), got axes that were placed by hand"
        )
    ax.set_axis_off()
    panels: np.ndarray = cell.subgridspec(n_rows, n_columns).subplots(squeeze=False)
    return panels


def escape_math(name: object) -> str:
    r"""Return a name as Matplotlib draws it as it is: a dollar sign in data begins no formula.

    >>> print(escape_math("$5 to $10"))
    \$5 to \$10
    """
    import matplotlib as mpl

    parses = mpl.rcParams["text.parse_math"]
    return str(name).replace("$", r"\$") if parses else str(name)


def clear_frame(ax: Any) -> None:
    """Draw no lines where there is no axis."""
    ax.spines[["top", "right"]].set_visible(False)


def choose_colors(n: int) -> np.ndarray:
    """Return colours for ``n`` things: those of the style, if it has enough of its own.

    Returns
    -------
    ndarray, shape (n, 3)
        Red, green and blue from 0 to 1, see `distinct_colors`.
    """
    import matplotlib as mpl
    from matplotlib.colors import to_rgb

    cycle: Any = mpl.rcParams["axes.prop_cycle"].by_key().get("color", [])
    is_default = mpl.rcParams["axes.prop_cycle"] == mpl.rcParamsDefault["axes.prop_cycle"]
    if is_default or n > len(cycle):
        return distinct_colors(n)
    return np.array([to_rgb(color) for color in cycle[:n]])
