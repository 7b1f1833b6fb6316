"""How errors and notes speak: short lists, counts, suggestions, the name of the source."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike

from anyback_nn.errors import DataError

__all__ = ["counted", "listing", "naming", "suggestion"]


def listing(names: Iterable[object], limit: int = 10, quote: Callable[[str], str] = repr) -> str:
    """Quote the first ``limit`` names and count the others.

    >>> listing(["a", "b", "c"], limit=2)
    "'a', 'b' and 1 more"
    """
    quoted = [quote(str(name)) for name in names]
    more = len(quoted) - limit
    return ", ".join(quoted[:limit]) + (f" and {more} more" if more > 0 else "")


def counted(n: int, noun: str) -> str:
    """Give a count with its noun.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that comes closest, in upper or lower case, or nothing.

    >>> suggestion("mons", ["moons", "digits"])
    " Did you mean 'moons'?"
    """
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(lowered), n=1)
    return f" Did you mean {lowered[close[0]]!r}?" if close else ""


@contextmanager
def naming(source: str | PathLike[str]) -> Iterator[None]:
    """Put the name of the source in front of every `DataError` raised inside."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
