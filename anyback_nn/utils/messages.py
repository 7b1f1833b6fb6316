"""Parts of messages: short lists, counts, suggestions, the name of the source, safe characters."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike

from anyback_nn.errors import DataError

__all__ = [
    "cut",
    "describe_error",
    "did_you_mean",
    "escape",
    "plural",
    "prefix_errors",
    "quoted_list",
    "suggest_call",
]

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


def cut(text: str, n_letters: int = MOST_LETTERS) -> str:
    """Return the beginning of a long text, such as a value of a table.

    >>> len(cut("a" * 3000)), cut("short")
    (60, 'short')
    """
    return text if len(text) <= n_letters else f"{text[: n_letters - 1]}\u2026"


def escape(text: str, keep: str = "") -> str:
    r"""Return a text without what a terminal obeys, or cannot show: written as in Python.

    Names and values from files may have any characters. Those to ``keep`` stay as they are.

    >>> print(escape("\x1b[2Jcaf\u00e9\n"))
    \x1b[2Jcafé\n
    """
    if text.isprintable():
        return text
    return "".join(x if x.isprintable() or x in keep else repr(x)[1:-1] for x in text)


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
    """Prefix each `DataError` raised inside with the name of its source.

    So is a panic of polars, which is no `Exception` and may come from any of its functions.
    """
    try:
        yield
    except DataError as error:
        # In its place: a chain would show the message twice.
        raise DataError(f"{source}: {error}") from error.__cause__
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        reason = cut(str(error).partition("\n")[0])
        raise DataError(
            f"{source}: has values that cannot be read ({reason}): expected none such; correct "
            "them, or write the file again"
        ) from error


def describe_error(error: Exception) -> str:
    """Return what an error of the operating system, or one of ours, says."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    return str(error)
