"""What a user says about a table: how it is written, and what its columns are."""

from __future__ import annotations

from dataclasses import dataclass

from anyback_nn.errors import DataError
from anyback_nn.utils.messages import quoted_list

__all__ = ["NO_OPTIONS", "TableOptions"]


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

    Raises
    ------
    DataError
        If a column is both categorical and numeric, or the decimal mark is another one.

    Examples
    --------
    >>> TableOptions(decimal=",", drop=("phone",)).na_values
    ()
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

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise DataError(f"the decimal mark is {self.decimal!r}: expected '.' or ','")
        if both := sorted({*self.categorical} & {*self.numeric}):
            raise DataError(
                f"{quoted_list(both)} are both categorical and numeric: expected one of the two"
            )


NO_OPTIONS = TableOptions()
"""All is found out."""
