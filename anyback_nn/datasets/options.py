"""What a user says about a table: how it is written, and what its columns are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TableOptions"]


@dataclass(frozen=True)
class TableOptions:
    """How a table is read, and what its columns are; what is not given is found out.

    Parameters
    ----------
    separator : str, optional
        What stands between the columns of a text file. Default: a comma, semicolon, tab or
        vertical bar, whichever divides all lines.
    decimal : {".", ","}, optional
        What stands before the fraction of a number.
    encoding : str
        The text's encoding, such as ``utf-16`` or ``latin-1``.
    na_values : tuple of str
        Strings that are missing values, besides the known ones.
    drop : tuple of str
        Columns that are no features.
    features : tuple of str, optional
        The columns that are features. Default: all that can be.
    categorical, numeric : tuple of str
        Columns whose values are categories, or numbers, whatever they look like.
    ids : tuple of str
        Columns that name a row: no features, and written next to its prediction.
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str = "utf-8"
    na_values: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
