"""How raw features become the numbers that a network sees."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anyback_nn.datasets.columns import Table, is_missing, is_numbers, numbers
from anyback_nn.datasets.optional import tabular
from anyback_nn.datasets.schema import integer, list_of, read_fields, real, text
from anyback_nn.datasets.wording import counted, listing
from anyback_nn.errors import DataError

__all__ = [
    "MOST_CATEGORIES",
    "Category",
    "Columns",
    "Features",
    "Number",
    "Scaling",
    "fit_categories",
    "fit_columns",
    "fit_features",
    "note_on_gaps",
    "notes_on",
]

_MISSING = "(missing)"  # in brackets, lest a file has it as a value
MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Scaling:
    """Features of an array: ``x = raw / scale``.

    Parameters
    ----------
    n_features : int
        Values in a row; the axes of an image are joined.
    scale : float
        The largest raw value, such as 255 for bytes; 1 leaves the values as they are.

    Examples
    --------
    >>> Scaling(2, scale=255.0).encode(np.array([[0, 255]], dtype=np.uint8))
    array([[0., 1.]], dtype=float32)
    """

    n_features: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.n_features < 1 or not self.scale > 0:
            raise DataError(
                f"the features have the width {self.n_features} and the scale {self.scale}: "
                "expected both above 0"
            )

    def encode(self, raw: np.ndarray) -> np.ndarray:
        """Divide by the scale.

        Parameters
        ----------
        raw : ndarray, shape (n_rows, ...)
            Numbers. With a scale other than 1 they must be whole, so that an array which was
            scaled before is not scaled twice.

        Returns
        -------
        ndarray of float32, shape (n_rows, n_features)

        Raises
        ------
        DataError
            If the number of features differs, or if a value is missing, infinite or not whole.
        """
        flat = flattened(raw, self.n_features)
        if flat.dtype.kind == "f":
            self._check(flat)
        # Dividing by a float32 keeps bytes away from a float64 copy eight times their size.
        x: np.ndarray = np.divide(
            flat, np.float32(self.scale), dtype=np.float32, casting="same_kind"
        )
        return x

    def to_json(self) -> dict[str, Any]:
        """Give plain data for JSON."""
        return {"kind": "scaling", **asdict(self)}

    @classmethod
    def from_json(cls, data: Any) -> Scaling:
        """Read what `to_json` gave, less its kind."""
        return cls(**read_fields(data, "features", n_features=integer, scale=real))

    def _check(self, flat: np.ndarray) -> None:
        bad, expected = ~(np.abs(flat) <= np.finfo(np.float32).max), "finite numbers"
        if self.scale != 1 and not bad.any():
            bad, expected = flat != np.floor(flat), f"whole numbers from 0 to {self.scale:g}"
        if bad.any():
            row, feature = np.argwhere(bad)[0]
            raise DataError(
                f"row {row + 1}, feature {feature + 1}: the value is {flat[row, feature]}: "
                f"expected {expected}, as in training"
            )


@dataclass(frozen=True)
class Number:
    """A column of numbers: what fills gaps, what is subtracted, what it is divided by."""

    name: str
    median: float
    mean: float
    scale: float

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise DataError(f"column {self.name!r} has the scale {self.scale}: expected above 0")


@dataclass(frozen=True)
class Category:
    """A column of texts: the categories of the training part, each of which becomes a feature."""

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise DataError(
                f"column {self.name!r} has the categories {listing(self.values) or '(none)'}: "
                "expected at least one, each once"
            )


@dataclass(frozen=True)
class Columns:
    """Features of a table, encoded by scikit-learn's transformers.

    Numbers: a missing value becomes the training median, then the column is standardised
    (``SimpleImputer``, ``StandardScaler``). Texts: a missing value becomes the category
    ``"(missing)"``, then each category becomes a feature of 0 or 1; a category that was not seen in
    training is 0 everywhere (``SimpleImputer``, ``OneHotEncoder``). The numbers come first.

    The fitted numbers stand here as plain data. The transformers are built from them through
    public arguments and attributes only, so that a stored encoding needs no pickle and gives
    the same bits.

    Parameters
    ----------
    numbers : tuple of Number
    categories : tuple of Category

    Examples
    --------
    >>> columns = Columns((Number("age", median=40.0, mean=40.0, scale=10.0),),
    ...                   (Category("town", ("Oslo", "Rome")),))
    >>> columns.encode({"age": np.array([50.0, np.nan]),
    ...                 "town": np.array(["Rome", "Paris"], dtype=object)})
    array([[1., 0., 1.],
           [0., 0., 0.]], dtype=float32)
    """

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated or not self.names:
            raise DataError(
                f"the features are the columns {listing(self.names) or '(none)'}: expected at "
                "least one, each once"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are needed, in no matter which order."""
        return (*(c.name for c in self.numbers), *(c.name for c in self.categories))

    @property
    def n_features(self) -> int:
        """Width of the encoded rows."""
        return len(self.numbers) + sum(len(column.values) for column in self.categories)

    def encode(self, table: Table) -> np.ndarray:
        """Encode the columns of a table.

        Parameters
        ----------
        table : mapping of str to ndarray, shape (n_rows,) each
            Numbers (float64, NaN is missing) and texts (object, None is missing).

        Returns
        -------
        ndarray of float32, shape (n_rows, n_features)

        Raises
        ------
        DataError
            If a standardised number is beyond float32.
        """
        blocks = []
        if self.numbers:
            raw = _stack(table, [column.name for column in self.numbers])
            with np.errstate(over="ignore"):
                block = np.asarray(self._number_steps().transform(raw), dtype=np.float32)
            self._require_finite(block, raw)
            blocks.append(block)
        if self.categories:
            raw = _stack(table, [column.name for column in self.categories])
            blocks.append(np.asarray(self._category_steps().transform(raw)))
        return np.hstack(blocks)

    def remarks(self, table: Table) -> tuple[str, ...]:
        """Tell which values were filled in, and which categories training has not seen."""
        filled = ((column, int(is_missing(table[column.name]).sum())) for column in self.numbers)
        notes = [*note_on_gaps(filled)]
        for column in self.categories:
            texts = _filled(table[column.name])
            if _MISSING in column.values and (n := int(is_missing(table[column.name]).sum())):
                notes.append(
                    f"column {column.name!r}: {counted(n, 'missing value')} taken as a category "
                    f"of its own, {_MISSING!r}"
                )
            unseen = Counter(texts.tolist())
            for value in column.values:
                del unseen[value]
            if unseen:
                rows = unseen.total()
                notes.append(
                    f"column {column.name!r}: {counted(rows, 'row')} "
                    f"{'has a category' if rows == 1 else 'have categories'} not seen in training "
                    f"({listing(sorted(unseen))}): treated as none of the known ones"
                )
        return tuple(notes)

    def table_of(self, raw: np.ndarray) -> Table:
        """Name the columns of an array.

        Parameters
        ----------
        raw : ndarray, shape (n_rows, ...)

        Raises
        ------
        DataError
            If the columns hold texts, which an array of numbers cannot give, or if the number of
            features differs.
        """
        if self.categories:
            raise DataError(
                "an array of numbers does not fit: expected a table with the columns "
                f"{listing(self.names)}, some of which hold texts; give a CSV or Parquet file"
            )
        flat = flattened(raw, len(self.numbers))
        return {c.name: numbers(c.name, flat[:, i]) for i, c in enumerate(self.numbers)}

    def to_json(self) -> dict[str, Any]:
        """Give plain data for JSON."""
        return {
            "kind": "columns",
            "numbers": [asdict(column) for column in self.numbers],
            "categories": [{"name": c.name, "values": list(c.values)} for c in self.categories],
        }

    @classmethod
    def from_json(cls, data: Any) -> Columns:
        """Read what `to_json` gave, less its kind."""

        def number(item: Any, what: str) -> Number:
            return Number(**read_fields(item, what, name=text, median=real, mean=real, scale=real))

        def category(item: Any, what: str) -> Category:
            return Category(**read_fields(item, what, name=text, values=list_of(text)))

        parts = read_fields(data, "features", numbers=list_of(number), categories=list_of(category))
        return cls(**parts)

    def _require_finite(self, block: np.ndarray, raw: np.ndarray) -> None:
        if not np.isfinite(block).all():
            row, i = np.argwhere(~np.isfinite(block))[0]
            raise DataError(
                f"row {row + 1}, column {self.numbers[i].name!r}: the value {raw[row, i]} is too "
                f"far from the training mean, {self.numbers[i].mean:.6g}: expected a value of "
                "similar size; correct it or leave it empty"
            )

    def _number_steps(self) -> Any:
        steps = _number_pipeline()
        # The median of one row is the row: fitting on the medians restores them exactly.
        steps[0].fit(np.array([[column.median for column in self.numbers]]))
        steps[1].mean_ = np.array([column.mean for column in self.numbers])
        steps[1].scale_ = np.array([column.scale for column in self.numbers])
        steps[1].n_features_in_ = len(self.numbers)
        return steps

    def _category_steps(self) -> Any:
        first = np.array([[column.values[0] for column in self.categories]], dtype=object)
        values = [np.array(column.values, dtype=object) for column in self.categories]
        return _category_pipeline(values).fit(first)


Features = Scaling | Columns


def fit_features(x: np.ndarray | Table) -> tuple[Features, tuple[str, ...]]:
    """Learn the encoding of the training part: of bytes, shape (n_rows, ...), or of a table.

    >>> fit_features(np.zeros((5, 28, 28), dtype=np.uint8))
    (Scaling(n_features=784, scale=255.0), ())
    """
    if isinstance(x, np.ndarray):
        return Scaling(math.prod(x.shape[1:]), scale=255.0), ()
    return fit_columns(x)


def fit_columns(table: Table) -> tuple[Columns, tuple[str, ...]]:
    """Learn the encoding of a table from its training part.

    Parameters
    ----------
    table : mapping of str to ndarray, shape (n_rows,) each
        The feature columns: numbers (float64, NaN is missing), texts (object, None is missing).

    Returns
    -------
    columns : Columns
    notes : tuple of str
        The columns that were left out because they have no value, and those that are constant.

    Raises
    ------
    DataError
        If no column is left, or if a column of texts has more than 1,000 categories.

    Examples
    --------
    >>> columns, notes = fit_columns({"age": np.array([30.0, 50.0, np.nan]),
    ...                               "town": np.array(["Rome", "Oslo", "Rome"], dtype=object)})
    >>> columns.numbers
    (Number(name='age', median=40.0, mean=40.0, scale=8.16...),)
    >>> columns.categories
    (Category(name='town', values=('Oslo', 'Rome')),)
    """
    empty = [name for name, column in table.items() if is_missing(column).all()]
    used = {name: column for name, column in table.items() if name not in empty}
    columns = Columns(
        _fit_numbers({name: column for name, column in used.items() if is_numbers(column)}),
        fit_categories({name: column for name, column in used.items() if not is_numbers(column)}),
    )
    constant = [name for name, column in used.items() if _is_constant(column)]
    return columns, notes_on(empty, constant)


def notes_on(empty: Iterable[str], constant: Iterable[str]) -> tuple[str, ...]:
    """Tell which columns were left out because they have no value, and which are constant."""
    said = {
        "left out, because no row of the training part has a value": listing(empty),
        "constant in the training part, which teaches nothing": listing(constant),
    }
    return tuple(f"{what}: {names}" for what, names in said.items() if names)


def note_on_gaps(filled: Iterable[tuple[Number, int]]) -> tuple[str, ...]:
    """Tell which numbers were missing, and how often."""
    gaps = [f"{n:,} in {column.name!r} ({column.median:.6g})" for column, n in filled if n]
    said = f"missing numbers filled with the training median: {listing(gaps, quote=str)}"
    return (said,) if gaps else ()


def flattened(raw: np.ndarray, n_features: int) -> np.ndarray:
    """Join the axes behind the first; refuse another number of features.

    >>> flattened(np.zeros((5, 2, 3)), 6).shape
    (5, 6)
    """
    width = math.prod(raw.shape[1:])
    if width != n_features:
        raise DataError(
            f"the rows have {counted(width, 'feature')} each: expected {n_features:,}, as in "
            "training"
        )
    return raw.reshape(len(raw), width)


def _fit_numbers(table: Table) -> tuple[Number, ...]:
    if not table:
        return ()
    imputer, scaler = _number_pipeline().fit(_stack(table, list(table)))
    fitted = zip(table, imputer.statistics_, scaler.mean_, scaler.scale_, strict=True)
    return tuple(Number(name, *map(float, values)) for name, *values in fitted)


def fit_categories(table: Table) -> tuple[Category, ...]:
    """Learn the categories of columns of texts."""
    if not table:
        return ()
    _, encoder = _category_pipeline("auto").fit(_stack(table, list(table)))
    columns = tuple(
        Category(name, tuple(values.tolist()))
        for name, values in zip(table, encoder.categories_, strict=True)
    )
    for column in columns:
        if len(column.values) > MOST_CATEGORIES:
            raise DataError(
                f"column {column.name!r} has {len(column.values):,} different texts: expected at "
                f"most {MOST_CATEGORIES:,} categories; leave the column out of the file, or "
                "group its values"
            )
    return columns


def _number_pipeline() -> Any:
    return tabular("sklearn.pipeline").make_pipeline(
        tabular("sklearn.impute").SimpleImputer(strategy="median"),
        tabular("sklearn.preprocessing").StandardScaler(),
    )


def _category_pipeline(categories: Any) -> Any:
    imputer = tabular("sklearn.impute").SimpleImputer(
        missing_values=None, strategy="constant", fill_value=_MISSING
    )
    encoder = tabular("sklearn.preprocessing").OneHotEncoder(
        categories=categories, handle_unknown="ignore", sparse_output=False, dtype=np.float32
    )
    return tabular("sklearn.pipeline").make_pipeline(imputer, encoder)


def _stack(table: Table, names: list[str]) -> np.ndarray:
    return np.column_stack([table[name] for name in names])


def _filled(column: np.ndarray) -> np.ndarray:
    return np.where(is_missing(column), _MISSING, column)


def _is_constant(column: np.ndarray) -> bool:
    filled = column[~is_missing(column)] if is_numbers(column) else _filled(column)
    return bool((filled == filled[0]).all())
