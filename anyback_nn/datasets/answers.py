"""Find columns that alone give the target away, such as a code of the target or a copy of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.columns import Column, Strings, Table, find_missing
from anyback_nn.utils.frames import polars
from anyback_nn.utils.messages import quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = ["AnswerFinder", "note_answers"]

_LEAST_ROWS = 20
_ROWS_PER_VALUE = 10
_LEAST_ROWS_OF_NUMBERS, _LEAST_ROWS_OF_CLASS = 50, 5
_CORRELATION = 0.99999
# A first look at so many rows tells most columns from answers: if nearly all of their values
# differ, or two rows of one value have different targets.
_GLANCE, _DISTINCT = 1000, 0.98


class AnswerFinder:
    """Finds columns that give the target away, from one part of a table after the other.

    They are equal to the target; or each of their values has one target, while at least ten rows
    share a value on average.

    Parameters
    ----------
    names : iterable of str
        The columns.
    target : str
    n_rows : int
        Rows of the whole table.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame({"code": ["x", "y"] * 20, "size": [1, 2, 3, 4] * 10,
    ...                       "sort": ["a", "b"] * 20}).with_columns(age=pl.Series(range(40)) % 3)
    >>> finder = AnswerFinder(["code", "size", "age"], "sort", n_rows=40)
    >>> finder.update(frame)
    >>> finder.names
    ['code', 'size']
    """

    def __init__(self, names: Iterable[str], target: str, n_rows: int) -> None:
        self.target = target
        self.most = n_rows // _ROWS_PER_VALUE if n_rows >= _LEAST_ROWS else 0
        self.columns = tuple(names)
        self._equal = set(self.columns)
        self._pairs: dict[str, pl.DataFrame | None] = dict.fromkeys(self.columns)

    def update(self, frame: pl.DataFrame) -> None:
        """Look at some rows."""
        pl = polars()
        self._glance(frame.head(_GLANCE))
        target = frame[self.target]
        self._equal = {name for name in self._equal if frame[name].equals(target)}
        for name, known in list(self._pairs.items()):
            pairs = pl.DataFrame({"value": frame[name], "target": target}).unique()
            pairs = pairs if known is None else known.vstack(pairs).unique()
            if pairs["value"].n_unique() == pairs.height <= self.most:
                self._pairs[name] = pairs
            else:
                del self._pairs[name]

    def _glance(self, frame: pl.DataFrame) -> None:
        """Rule most columns out by a few rows, in one query."""
        pl = polars()
        same_type = {name for name in self._equal if frame[name].dtype == frame[self.target].dtype}
        # By their places, since polars takes names such as * for patterns.
        places = {name: f"{place}" for place, name in enumerate(frame.columns)}
        columns = {name: pl.col(place) for name, place in places.items()}
        target = columns[self.target]
        rows = frame.rename(places).select(
            *(columns[name].eq_missing(target).all().alias(f"= {name}") for name in same_type),
            *(
                pl.struct(columns[name], target).n_unique().alias(f"? {name}")
                for name in self._pairs
            ),
            *(columns[name].n_unique().alias(f"! {name}") for name in self._pairs),
        )
        results = {name: column[0] for name, column in rows.to_dict().items()}
        self._equal = {name for name in same_type if results[f"= {name}"]}
        for name, known in list(self._pairs.items()):
            n_pairs = results[f"? {name}"]
            all_differ = known is None and n_pairs >= _DISTINCT * frame.height
            if all_differ or n_pairs > min(results[f"! {name}"], self.most):
                del self._pairs[name]

    @property
    def names(self) -> list[str]:
        """The columns, in their order."""
        pairs = self._pairs
        several = {name for name, known in pairs.items() if known is not None and known.height > 1}
        return [name for name in self.columns if name in several | self._equal]

    @property
    def notes(self) -> tuple[str, ...]:
        """A warning that names the columns."""
        return _note(self.target, list(map(repr, self.names)))


def note_answers(
    frame: pl.DataFrame, names: Sequence[str], targets: Sequence[str], table: Table, y: Column
) -> tuple[str, ...]:
    """Return a warning for each target that some of the columns give away.

    In addition to those of `AnswerFinder`, they are: for a continuous target, numbers that are its
    multiple plus a constant; for classes, numbers that thresholds divide into them, and columns
    that are missing in the rows of one class and in no others.

    Parameters
    ----------
    frame : polars.DataFrame
        The table as it was given.
    names, targets : sequence of str
        Its columns that are features, and its targets.
    table : mapping of str to column of n_rows
        The features, as they were read, of the rows that have a target.
    y : column of n_rows, or ndarray of shape (n_rows, n_targets)
    """
    notes: list[str] = []
    values: list[Any] = [y] if isinstance(y, Strings) else list(y.reshape(len(y), -1).T)
    for target, y_target in zip(targets, values, strict=True):
        finder = AnswerFinder(names, target, frame.height)
        finder.update(frame)
        answers = dict.fromkeys(finder.names, "")
        if len(y_target) >= _LEAST_ROWS_OF_NUMBERS:
            reads = _read_class if isinstance(y_target, Strings) else _is_affine
            for name in names:
                if name not in answers and (how := reads(table[name], y_target)) is not None:
                    answers[name] = how
        notes += _note(target, [f"{name!r}{answers[name]}" for name in names if name in answers])
    return tuple(notes)


def _note(target: str, answers: Sequence[str]) -> tuple[str, ...]:
    if not answers:
        return ()
    return (
        f"alone enough to know {target!r}: {quoted_list(answers, quote=str)}; if you will not "
        "know it when you predict, leave it out (--drop, drop=)",
    )


def _is_affine(column: Any, y: np.ndarray) -> str | None:
    """Return an empty string if numbers are a multiple of the target plus a constant."""
    if isinstance(column, Strings) or column.dtype.kind == "M":
        return None
    step = -(-len(y) // _GLANCE)
    for x, target in ((column[::step], y[::step]), (column, y)):
        present = ~np.isnan(x)
        x, target = x[present], target[present]
        if len(x) < _LEAST_ROWS_OF_NUMBERS:
            return None
        x, target = x - x.mean(), target - target.mean()
        length = math.sqrt(x @ x) * math.sqrt(target @ target)
        if not abs(x @ target) > _CORRELATION * length:
            return None
    return ""


def _read_class(column: Any, y: Strings) -> str | None:
    """Return how a column gives the class away, or None."""
    counts = y.counts
    missing = find_missing(column)
    if n_missing := int(missing.sum()):
        code = y.codes[missing.argmax()]
        is_class = bool((y.codes[missing] == code).all()) and n_missing >= _LEAST_ROWS_OF_CLASS
        if is_class and counts[y.values[code]] == n_missing:
            return f" (missing where it is {y.values[code]!r})"
    is_number = not isinstance(column, Strings) and column.dtype.kind != "M"
    if n_missing or not is_number or min(counts.values()) < _LEAST_ROWS_OF_CLASS:
        return None
    step = -(-len(y) // _GLANCE)
    for x, codes in ((column[::step], y.codes[::step]), (column, y.codes)):
        order = np.lexsort((codes, x))
        changes = np.diff(codes[order]) != 0
        shares_value = changes & (np.diff(x[order]) == 0)
        if shares_value.any() or changes.sum() >= len(counts):
            return None
    return ""
