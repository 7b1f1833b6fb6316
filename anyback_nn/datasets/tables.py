"""Tables in CSV and Parquet files, read by polars.

What a column is follows from all of its values. In a CSV file all values are strings at first; a
column of strings which are all numbers is a column of numbers. Rows are counted from 1, the first
row of data; blank lines do not count.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.blocks import list_block_columns, read_blocks
from anyback_nn.datasets.columns import (
    Column,
    Strings,
    Table,
    encode_strings,
    polars,
    read_column,
    read_numbers,
    read_strings,
    require_column,
    require_columns,
    require_target,
)
from anyback_nn.datasets.dataset import Dataset, Part, Rows, build_dataset, encode_rows
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Columns, Features, Scaling, fit_columns
from anyback_nn.datasets.split import DEFAULT_FRACTION
from anyback_nn.datasets.targets import TargetScaling, Task, choose_task, target_names
from anyback_nn.errors import DataError
from anyback_nn.utils.files import read_bytes
from anyback_nn.utils.messages import plural, prefix_errors, quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ParquetFile",
    "load_table",
    "open_parquet",
    "read_table",
    "read_target",
    "read_targets",
    "select_features",
    "split_target",
]

_IDENTIFIER_ROWS = 50
_PARQUET = "Parquet; files of a folder need the same columns"
_TARGET = "target= (--target COL)"


def load_table(
    path: Path,
    *,
    target: str | Sequence[str] | None,
    task: str,
    test_fraction: float | None,
    seed: int,
    test_file: Path | None = None,
    group: str | None = None,
    time: str | None = None,
    scaling: TargetScaling = "standard",
) -> Dataset:
    """Load a table for training.

    Parameters, result and errors are those of `anyback_nn.datasets.load`.
    """
    with prefix_errors(path):
        frame = _read(path)
        targets = split_target(target, frame.columns)
        y, chosen = read_targets(frame, targets, task)
        blocks = read_blocks(frame, group, time)
        dividing = list_block_columns(frame, group, time)
        no_features = {*targets, *dividing}
        table = {
            name: read_column(frame[name]) for name in frame.columns if name not in no_features
        }
        identifiers = [name for name, column in table.items() if _is_identifier(column)]
        features = {name: table[name] for name in table if name not in identifiers}
        if not features:
            raise DataError(
                f"has no column but the target {quoted_list(targets)}: expected features as well"
            )
        train = Part(features, y, blocks)
        if test_file is None:
            fraction = DEFAULT_FRACTION if test_fraction is None else test_fraction
            train, test = train.split(chosen, test_fraction=fraction, seed=seed)
        fitted, notes = fit_columns(train.x)
        if test_file is not None:
            test = _read_test_part(test_file, fitted, targets, chosen)
        left_out = (
            f"column {name!r} was left out: it has another string in each row, like an "
            "identifier; drop it from the file"
            for name in identifiers
        )
        apart = [f"column {name!r} is no feature: it divides the rows" for name in dividing]
        name = path.stem.removesuffix(".csv")  # of .csv.gz
        return build_dataset(
            name,
            train,
            test,
            fitted,
            chosen,
            target=targets[0] if len(targets) == 1 else targets,
            scaling=scaling,
            notes=(*apart, *left_out, *notes),
        )


def _read_test_part(path: Path, features: Columns, targets: tuple[str, ...], task: Task) -> Part:
    """Read the test part from a file of its own."""
    with prefix_errors(path):
        frame = _read(path)
        for name in targets:
            require_column(name, frame.columns)
        y, _ = read_targets(frame, targets, task)
        return Part(select_features(frame, features, features.names), y)


def read_table(
    path: Path, encoding: Encoding, *, target: str | Sequence[str] | None, with_target: bool
) -> Rows:
    """Read all rows of a table with a fitted encoding.

    Parameters, result and errors are those of `anyback_nn.datasets.read`.
    """
    with prefix_errors(path):
        frame = _read(path)
        trained = target_names(encoding.target)
        targets, y = trained, None
        if with_target:
            reason = ", and the model was not trained on a table"
            targets = split_target(target or trained or None, frame.columns, reason=reason)
            y, _ = read_targets(frame, targets, encoding.task)
        elif target is not None:
            targets = split_target(target, frame.columns)
        others = [name for name in frame.columns if name not in targets]
        rows = encode_rows(select_features(frame, encoding.features, others), y, encoding)
        if isinstance(encoding.features, Scaling):
            return rows
        notes = []
        if unused := [name for name in others if name not in encoding.features.names]:
            notes.append(f"ignored columns that the model does not use: {quoted_list(unused)}")
        if with_target and targets != trained:
            notes.append(
                f"measured against {quoted_list(targets)}; the model predicts "
                f"{quoted_list(trained) or None}"
            )
        return replace(rows, notes=(*notes, *rows.notes))


def split_target(
    target: str | Sequence[str] | None, columns: Collection[str], *, reason: str = ""
) -> tuple[str, ...]:
    """Return the names of the target columns, which a string separates by commas.

    Raises
    ------
    DataError
        If none is named, if there is no such column, or if a name is repeated.
    """
    names: list[str | None]
    if target is None or (isinstance(target, str) and target in columns):
        names = [target]
    else:
        words = target.split(",") if isinstance(target, str) else target
        names = [word.strip() for word in words] or [None]
    targets = tuple(require_target(name, columns, reason=reason, option=_TARGET) for name in names)
    if len(set(targets)) < len(targets):
        raise DataError(f"the targets are {quoted_list(targets)}: expected each once")
    return targets


def read_targets(frame: pl.DataFrame, targets: tuple[str, ...], task: str) -> tuple[Column, Task]:
    """Return the target's column, or an array of shape (n_rows, n_targets), and its task.

    Raises
    ------
    DataError
        If values are missing, or if one of several targets is for classification.
    """
    columns: list[Any] = [read_target(frame[name], task) for name in targets]
    tasks = [choose_task(column, task, name) for name, column in zip(targets, columns)]
    if len(targets) == 1:
        return columns[0], tasks[0]
    if "classification" in tasks:
        name = targets[tasks.index("classification")]
        raise DataError(
            f"several targets are predicted together if all are continuous, but {name!r} has "
            "classes: train a model for each target; for numbers that are no classes use the task "
            "'regression' (--task regression)"
        )
    return np.column_stack(columns), "regression"


def read_target(series: pl.Series, task: str) -> Column:
    """Return the targets of a column: numbers, or labels."""
    hint = ". Where the strings are labels, use --task classification (task=)"
    if task == "regression":
        return read_numbers(series, hint)
    return read_column(series, mixed=task == "classification", hint=hint)


def select_features(
    frame: pl.DataFrame, features: Features, names: Sequence[str]
) -> np.ndarray | Table:
    """Return the columns that an encoding of tables needs, or for one of arrays those named."""
    if isinstance(features, Scaling):
        return np.column_stack([read_numbers(frame[name]) for name in names])
    require_columns(features.names, frame.columns)
    numbers = {c.name: read_numbers(frame[c.name]) for c in features.numbers}
    strings = {c.name: encode_strings(read_strings(frame[c.name])) for c in features.categories}
    return {**numbers, **strings}


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file of which some rows are read at a time; open it with `open_parquet`.

    Parameters
    ----------
    path : Path
        A file, or a folder of several with the same columns.
    types : mapping of str to polars.DataType
        The columns, in their order.
    n_rows : int
    """

    path: Path
    types: Mapping[str, Any] = field(repr=False)
    n_rows: int

    def read(self, columns: Sequence[str], start: int, n_rows: int) -> pl.DataFrame:
        """Read these columns of some rows, as far as there are any."""
        with self.prefix_errors(), _readable(_PARQUET):
            return _lazy(self.path).slice(start, n_rows).select(columns).collect()

    def prefix_errors(self, start: int = 0) -> AbstractContextManager[None]:
        """Prefix errors with the file, and with the row from which rows are counted."""
        return prefix_errors(f"{self.path}, counted from row {start + 1:,}" if start else self.path)


def open_parquet(path: Path) -> ParquetFile:
    """Open a Parquet file, which must have rows, without reading them."""
    with prefix_errors(path):
        if not path.exists():
            raise DataError("no such file: expected a Parquet file, or a folder of several")
        with _readable(_PARQUET):
            pl, lazy = polars(), _lazy(path)
            types, n_rows = lazy.collect_schema(), lazy.select(pl.len()).collect().item()
        if not n_rows:
            raise DataError(f"has the columns {quoted_list(types)} but no row: expected data")
        return ParquetFile(path, types, n_rows)


def _lazy(path: Path) -> pl.LazyFrame:
    # Without glob a path may have any characters.
    return polars().scan_parquet(path, glob=False)


@contextmanager
def _readable(expected: str) -> Iterator[None]:
    try:
        yield
    except (polars().exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"cannot be read ({reason}): expected {expected}") from error


def _read(path: Path) -> pl.DataFrame:
    """Read a file: the columns of a CSV file are strings, those of Parquet have their types."""
    content = read_bytes(path)
    if path.suffix.lower() == ".parquet":
        with _readable("Parquet"):
            frame = polars().read_parquet(io.BytesIO(content))
    else:
        with _readable("CSV in UTF-8 with commas between the columns"):
            frame = _read_csv(content)
    if not frame.height:
        raise DataError(f"has the columns {quoted_list(frame.columns)} but no row: expected data")
    return frame


def _read_csv(content: bytes) -> pl.DataFrame:
    pl = polars()
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not content.strip():
        raise DataError("is empty: expected a line of column names, then rows of data")
    try:
        # The header is read as a row, since polars would rename columns of the same name.
        frame = pl.read_csv(content, has_header=False, infer_schema=False)
    except pl.exceptions.ComputeError:
        _find_blank_lines(content)  # names the row, if one is too long
        raise
    if frame[:, -1].null_count():  # polars fills rows that are too short with nulls
        blank = _find_blank_lines(content)
        frame = frame.filter(~pl.Series(blank))
    names = [(name or "").strip() for name in frame.row(0)]
    _check_header(names)
    frame = frame[1:]
    frame.columns = names
    return frame


def _check_header(names: list[str]) -> None:
    if len(names) == 1 and (separators := [mark for mark in ";\t|" if mark in names[0]]):
        raise DataError(
            f"the columns seem to be separated by {separators[0]!r}: expected commas; write the "
            "file again with commas"
        )
    if "" in names:
        raise DataError(
            f"column {names.index('') + 1} has no name: expected a name for each column; name or "
            "drop it (pandas: to_csv(index=False))"
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"several columns have the same name, {quoted_list(repeated)}: expected each name "
            "once; rename or drop them"
        )


def _find_blank_lines(content: bytes) -> list[bool]:
    """Return which lines are blank; refuse rows that are longer or shorter than the header."""
    try:
        text = content.decode().replace("\r\n", "\n")
        if '"' not in text and "\r" not in text:  # then counting commas is enough, and fast
            lines = text.removesuffix("\n").split("\n")
            n_commas = lines[0].count(",")
            if all(not line or line.count(",") == n_commas for line in lines):
                return [not line for line in lines]
        reader = csv.reader(io.StringIO(text, newline=""))
        width, blank = len(next(reader)), [False]
        for row in reader:
            blank.append(not row)
            if row and len(row) != width:
                raise DataError(
                    f"row {blank.count(False) - 1} (line {reader.line_num}) has "
                    f"{plural(len(row), 'value')}: expected {width}, as many as the header has "
                    "names; complete the row, or quote values that contain commas"
                )
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"line {line} is not UTF-8 ({error.reason}): expected text in UTF-8; save the file in "
            "that encoding"
        ) from error
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: {error}: expected CSV") from error
    return blank


def _is_identifier(column: Column) -> bool:
    """Return whether a column has many rows, each with another string."""
    return isinstance(column, Strings) and len(column.values) == len(column) > _IDENTIFIER_ROWS
