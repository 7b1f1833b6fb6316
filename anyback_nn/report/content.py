"""What a report consists of: sections of text, tables and pictures, before they are HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyback_nn.utils.messages import cut, escape

__all__ = ["Card", "Picture", "Section", "Table", "shorten"]


def shorten(text: str, n_letters: int = 24) -> str:
    r"""Return a name or value of a file, cut and without control characters.

    >>> print(shorten("a\x00b"), len(shorten(30 * "c")))
    a\x00b 24
    """
    return escape(cut(str(text), n_letters))


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Parameters
    ----------
    svg : str
        The element, as HTML.
    caption : str
        What it shows, and how to read it.
    width : float
        In CSS pixels.
    """

    svg: str
    caption: str
    width: float


@dataclass(frozen=True)
class Table:
    """A table of strings.

    Parameters
    ----------
    head : sequence of str
        Empty for none.
    rows : sequence of sequence of str
    n_strings : int
        The number of columns, from the left, that are no numbers.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    n_strings: int = 1


@dataclass(frozen=True)
class Card:
    """A small image with lines of text.

    Parameters
    ----------
    image : str
        A ``data:`` URL.
    lines : sequence of str
    """

    image: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Parameters
    ----------
    key : str
        Its anchor.
    title : str
    text : sequence of str
        Paragraphs before all else.
    warnings : sequence of str
        What a reader should look at, and what to try.
    tables, pictures, cards : sequence
    command : str
        Shown as it is.
    is_beside : bool
        Whether pictures are next to the tables, where there is room.
    """

    key: str
    title: str
    text: Sequence[str] = ()
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    cards: Sequence[Card] = ()
    command: str = ""
    is_beside: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing below the title."""
        parts = (self.text, self.warnings, self.tables, self.pictures, self.cards)
        return not any(map(len, parts))
