"""Parts of messages: short lists, counts, suggestions, the name of the source."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike

from anyback_nn.errors import DataError

__all__ = ["cut", "did_you_mean", "plural", "prefix_errors", "quoted_list", "suggest_call"]

MOST_LETTERS = 60


def quoted_list(
    names: Iterable[object], limit: int = 10, quote: Callable[[str], str] = repr
) -> str:
    """Quote the first ``limit`` names, cut if they are long, and count the others.

    >>> quoted_list(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    quoted = [quote(cut(str(name))) for name in names]
    more = len(quoted) - limit
    return ", ".join(quoted[:limit]) + (f" and {more} more" if more > 0 else "")


def cut(text: str) -> str:
    """Return the beginning of a long text, such as a value of a table.

    >>> len(cut("a" * 3000)), cut("short")
    (60, 'short')
    """
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}\u2026"


def plural(n: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "row"), plural(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the most similar known word, in upper or lower case, or nothing.

    >>> did_you_mean("mons", ["moons", "digits"])
    " Did you mean 'moons'?"
    """
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=1)
    return f" Did you mean {lowered[close[0]]!r}?" if close else ""


def suggest_call(value: object, arguments: str = "") -> str:
    """Suggest calling a class that was passed in place of an object, or nothing.

    >>> suggest_call(dict), suggest_call(1)
    ('. Write dict()', '')
    """
    return f". Write {value.__name__}({arguments})" if isinstance(value, type) else ""


@contextmanager
def prefix_errors(source: str | PathLike[str]) -> Iterator[None]:
    """Prefix each `DataError` raised inside with the name of its source."""
    try:
        yield
    except DataError as error:
        # In its place: a chain would show the message twice.
        raise DataError(f"{source}: {error}") from error.__cause__
