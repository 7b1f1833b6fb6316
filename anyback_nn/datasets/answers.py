"""Find columns that alone give the target away, such as a code of the target or a copy of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from anyback_nn.utils.frames import polars
from anyback_nn.utils.messages import quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = ["AnswerFinder", "note_answers"]

_LEAST_ROWS = 20
_ROWS_PER_VALUE = 10
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
        self._glance(frame.head(_GLANCE))
        target = frame[self.target]
        self._equal = {name for name in self._equal if frame[name].equals(target)}
        for name, known in list(self._pairs.items()):
            pairs = frame.select(value=name, target=self.target).unique()
            pairs = pairs if known is None else known.vstack(pairs).unique()
            if self._determines(pairs):
                self._pairs[name] = pairs
            else:
                del self._pairs[name]

    def _glance(self, frame: pl.DataFrame) -> None:
        """Rule most columns out by a few rows, in one query."""
        pl = polars()
        target = pl.col(self.target)
        same_type = {name for name in self._equal if frame[name].dtype == frame[self.target].dtype}
        rows = frame.select(
            *(pl.col(name).eq_missing(target).all().alias(f"= {name}") for name in same_type),
            *(pl.struct(name, target).n_unique().alias(f"? {name}") for name in self._pairs),
            *(pl.col(name).n_unique().alias(f"! {name}") for name in self._pairs),
        )
        results = {name: column[0] for name, column in rows.to_dict().items()}
        self._equal = {name for name in same_type if results[f"= {name}"]}
        for name, known in list(self._pairs.items()):
            n_pairs = results[f"? {name}"]
            all_differ = known is None and n_pairs >= _DISTINCT * frame.height
            if all_differ or n_pairs > min(results[f"! {name}"], self.most):
                del self._pairs[name]

    def _determines(self, pairs: pl.DataFrame) -> bool:
        is_function: bool = pairs["value"].n_unique() == pairs.height
        return is_function and pairs.height <= self.most

    @property
    def names(self) -> list[str]:
        """The columns, in their order."""
        pairs = self._pairs
        several = {name for name, known in pairs.items() if known is not None and known.height > 1}
        return [name for name in self.columns if name in several | self._equal]

    @property
    def notes(self) -> tuple[str, ...]:
        """A warning that names the columns."""
        if not self.names:
            return ()
        return (
            f"alone enough to know {self.target!r}: {quoted_list(self.names)}; if you will not "
            "know it when you predict, leave it out (--drop, drop=)",
        )


def note_answers(
    frame: pl.DataFrame, names: Iterable[str], targets: Iterable[str]
) -> tuple[str, ...]:
    """Return a warning for each target that some of the columns give away."""
    notes: list[str] = []
    for target in targets:
        finder = AnswerFinder(names, target, frame.height)
        finder.update(frame)
        notes += finder.notes
    return tuple(notes)
