"""What happens to samples in a model, to be printed, read as a page or computed again."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from anyback_nn.explain.page import write_explanation
from anyback_nn.explain.script import write_script
from anyback_nn.explain.text import to_text
from anyback_nn.explain.walked import Walked

__all__ = ["Explanation"]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Walked):
    """Samples walked through a model; printed, it is the walk as text.

    The attributes are those of `Walked`: ``steps`` and ``values`` above all.
    """

    def __str__(self) -> str:
        return to_text(self)

    __repr__ = __str__

    def to_html(self, path: str | Path) -> None:
        """Write the walk as one HTML file, which opens without a network.

        A file at ``path`` is replaced, and folders that are missing are created.

        Raises
        ------
        DataError
            ``path`` is a folder.
        """
        write_explanation(self, Path(path))

    def to_python(self) -> str:
        """Return a NumPy script that computes the walk and the update again."""
        return write_script(self)

    def _repr_html_(self) -> str:
        text: str = escape(str(self))
        return f"<pre>{text}</pre>"
