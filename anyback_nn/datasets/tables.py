"""Tables for training and for a trained network.

What a column is follows from all of its values (`kinds`); in a text file all of them are strings at
first. Rows are counted from 1, the first row of data; blank lines do not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback_nn.datasets.answers import note_answers
from anyback_nn.datasets.blocks import read_blocks
from anyback_nn.datasets.columns import (
    MISSING_MARKERS,
    Column,
    Strings,
    Table,
    encode_strings,
    find_markers,
    find_missing,
    read_dates,
    read_labels,
    read_numbers,
    read_strings,
    require_column,
    require_columns,
    require_target,
)
from anyback_nn.datasets.dataset import Dataset, Part, Rows, build_dataset, encode_rows
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Features, Scaling, fit_columns, note_sentinels
from anyback_nn.datasets.formats import NumberFormat
from anyback_nn.datasets.frames import read_raw_table, table_label
from anyback_nn.datasets.kinds import (
    AmbiguousNumbersError,
    Kind,
    exclude_identifiers,
    find_decimal,
    is_identifier,
    note_columns,
    read_column,
    target_options,
)
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.split import DEFAULT_FRACTION
from anyback_nn.datasets.targets import (
    Target,
    TargetScaling,
    Task,
    Written,
    choose_task,
    fit_targets,
    note_unlabelled,
    refuse_dates,
    refuse_unlabelled,
    require_classes,
    target_names,
    written_forms,
)
from anyback_nn.errors import DataError
from anyback_nn.utils.frames import is_frame, polars
from anyback_nn.utils.messages import plural, prefix_errors, quoted_list

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "choose_features",
    "load_table",
    "read_table",
    "reread_targets",
    "select_features",
]

_TARGET = "target= (--target COL)"


def load_table(
    source: Any,
    *,
    target: str | Sequence[str] | None,
    task: str,
    test_fraction: float | None,
    seed: int,
    options: TableOptions = NO_OPTIONS,
    test_file: Any = None,
    group: str | None = None,
    time: str | None = None,
    scaling: TargetScaling = "standard",
) -> Dataset:
    """Load a table for training.

    Parameters, result and errors are those of `anyback_nn.datasets.load`.
    """
    raw = read_raw_table(source, options)
    with prefix_errors(table_label(source)):
        targets = split_target(target, raw.frame.columns)
        for what, name in {"group": group, "time": time}.items():
            if name in targets:
                raise DataError(f"the {what} {name!r} is the target: use another column")
        frame = raw.frame
        if is_frame(source):
            frame = _booleans_as_numbers(frame, {*targets, *options.categorical})
        table = _read_training_table(frame, targets, task, group, time, raw.options)
        train = table.rows
        if test_file is None:
            fraction = DEFAULT_FRACTION if test_fraction is None else test_fraction
            train, test = train.split(table.task, test_fraction=fraction, seed=seed)
        columns, notes = fit_columns(train.x)
        columns = columns.with_kinds(table.kinds)
        if isinstance(train.y, Strings):
            require_classes(train.y.counts, table.unlabelled)
        fitted = fit_targets(train.y, table.task, targets, table.written, scaling)
        encoding, names = Encoding(columns, fitted, options), columns.names
    repeated: tuple[str, ...] = ()
    if test_file is not None:
        test, repeated = _read_test_part(test_file, raw.frame, encoding)
    with prefix_errors(table_label(source)):
        notes = (
            *raw.notes,
            *(f"column {name!r} is no feature: it divides the rows" for name in table.dividing),
            *table.unlabelled,
            *note_columns(fitted, names, table.kinds, table.identifiers, task, raw.options),
            *notes,
            *_note_sentinels(targets, table.rows.y),
            *note_answers(frame, names, targets, table.rows.x, table.rows.y),
            *repeated,
        )
        return build_dataset(raw.name, train, test, encoding, notes)


def _note_sentinels(targets: Sequence[str], y: Any) -> tuple[str, ...]:
    """Describe which targets may be missing values, such as -999."""
    if isinstance(y, Strings):
        return ()
    return note_sentinels(dict(zip(targets, y.reshape(len(y), -1).T, strict=True)))


@dataclass(frozen=True, eq=False)
class _TrainingTable:
    """What was read from a table for training.

    Parameters
    ----------
    rows : Part
        The features and the target, of the rows that have one.
    task : {"classification", "regression"}
    written : tuple of NumberFormat, ClockFormat or None
        How the numbers of each target are written.
    kinds : mapping of str to Kind
        What the columns are, also those that are no features.
    identifiers, dividing : list of str
        Columns that are no features: they name or number the rows, or divide them.
    unlabelled : tuple of str
        A note on the rows that were left out.
    """

    rows: Part
    task: Task
    written: tuple[Written, ...]
    kinds: Mapping[str, Kind]
    identifiers: list[str]
    dividing: list[str]
    unlabelled: tuple[str, ...]


def _read_training_table(
    frame: pl.DataFrame,
    targets: tuple[str, ...],
    task: str,
    group: str | None,
    time: str | None,
    options: TableOptions,
) -> _TrainingTable:
    """Decide what the columns of a table are, and read them."""
    blocks, dividing = read_blocks(frame, group, time, options)
    names = choose_features(frame.columns, targets, options, dividing)
    (y, written), (kinds, features, identifiers) = _read_columns(
        frame, targets, task, names, options
    )
    learned: Task = "classification" if isinstance(y, Strings) else "regression"
    rows, n_missing = _drop_unlabelled(Part(features, y, blocks), targets)
    is_open = n_missing and isinstance(y, Strings) and targets[0] not in options.categorical
    markers = find_markers(frame[targets[0]], options.na_values) if is_open else ()
    unlabelled = note_unlabelled(n_missing, *targets, markers=markers)
    return _TrainingTable(rows, learned, written, kinds, identifiers, dividing, unlabelled)


def _read_test_part(
    source: Any, training: pl.DataFrame, encoding: Encoding
) -> tuple[Part, tuple[str, ...]]:
    """Read the test part from a file of its own, less rows without a target.

    The second result is a note on rows that are training rows too.
    """
    options, targets = encoding.options, target_names(encoding.target)
    raw = read_raw_table(source, options)
    with prefix_errors(table_label(source)):
        for name in targets:
            require_column(name, raw.frame.columns)
        y = reread_targets(raw.frame, targets, encoding.target, options)
        names = [name for name in raw.frame.columns if name not in targets]
        x = select_features(raw.frame, encoding.features, names, options)
        return _drop_unlabelled(Part(x, y), targets)[0], _note_repeated(raw.frame, training)


def _note_repeated(test: pl.DataFrame, training: pl.DataFrame) -> tuple[str, ...]:
    """Describe how many rows of a test file are training rows as well, by the columns of both."""
    pl = polars()
    names = [name for name in test.columns if name in training.columns]
    parts = [
        part[names].with_columns(pl.col(pl.Categorical).cast(pl.String))
        for part in (test, training)
    ]
    if parts[0].schema != parts[1].schema:  # of files of two kinds
        return ()
    hashes, others = (part.hash_rows() for part in parts)
    if not (count := int(hashes.is_in(others.implode()).sum())):
        return ()
    return (
        f"test part: {count:,} of its {plural(test.height, 'row')} are training rows as well, "
        "which makes the scores better than those of new rows",
    )


def read_table(
    source: Any,
    encoding: Encoding,
    *,
    target: str | Sequence[str] | None,
    with_target: bool,
    options: TableOptions | None = None,
) -> Rows:
    """Read all rows of a table with a fitted encoding.

    Parameters, result and errors are those of `anyback_nn.datasets.read`.
    """
    options = encoding.options if options is None else options
    raw = read_raw_table(source, options)
    with prefix_errors(table_label(source)):
        frame = raw.frame
        trained = target_names(encoding.target)
        targets = trained
        if with_target:
            reason = ", and the model was not trained on a table"
            targets = split_target(target or trained or None, frame.columns, reason=reason)
        elif target is not None:
            targets = split_target(target, frame.columns)
        others = _list_features(frame.columns, targets, options)
        x = select_features(frame, encoding.features, others, options)
        y, n_missing = None, 0
        if with_target:
            y = reread_targets(frame, targets, encoding.target, options)
            part, n_missing = _drop_unlabelled(Part(x, y), targets)
            x, y = part.x, part.y
        rows = encode_rows(x, y, encoding)
        ids, absent = ({}, ()) if with_target else _read_ids(frame, options, encoding.options)
        notes = [*raw.notes, *absent, *note_unlabelled(n_missing, *targets)]
        if isinstance(encoding.features, Scaling):
            return replace(rows, ids=ids, notes=(*notes, *rows.notes))
        used = set(encoding.features.names)
        if unused := [name for name in others if name not in used]:
            notes.append(f"ignored columns that the model does not use: {quoted_list(unused)}")
        if with_target and targets != trained:
            notes.append(
                f"measured against {quoted_list(targets)}; the model predicts "
                f"{quoted_list(trained) or None}"
            )
        return replace(rows, ids=ids, notes=(*notes, *rows.notes))


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
    target = str(target) if isinstance(target, int) else target  # of a frame with numbers for names
    if target is None or (isinstance(target, str) and target in columns):
        names = [target]
    else:
        words = target.split(",") if isinstance(target, str) else target
        names = [word.strip() for word in words] or [None]
    targets = tuple(require_target(name, columns, reason=reason, option=_TARGET) for name in names)
    if len(set(targets)) < len(targets):
        raise DataError(f"the targets are {quoted_list(targets)}: expected each once")
    return targets


def _booleans_as_numbers(frame: pl.DataFrame, others: Collection[str]) -> pl.DataFrame:
    """Return a data frame whose booleans are 0 and 1, but for those of other columns."""
    pl = polars()
    booleans = [name for name, dtype in frame.schema.items() if dtype == pl.Boolean]
    return frame.with_columns(frame[name].cast(pl.Int8) for name in booleans if name not in others)


def _read_ids(
    frame: pl.DataFrame, options: TableOptions, known: TableOptions
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Return the columns that name the rows, as they are written, and a note on absent ones."""
    pl = polars()
    absent = [name for name in options.ids if name not in frame.columns]
    if absent and options.ids != known.ids:
        require_column(absent[0], frame.columns)
    ids = {
        name: frame[name].cast(pl.String).fill_null("").to_list()
        for name in options.ids
        if name not in absent
    }
    if not absent:
        return ids, ()
    return ids, (f"has no column {quoted_list(absent)}, which named the rows in training",)


def choose_features(
    columns: Sequence[str],
    targets: Collection[str],
    options: TableOptions,
    dividing: Collection[str] = (),
) -> list[str]:
    """Return the columns that may be features, by the options, which must name columns."""
    named = (options.features or (), options.drop, options.ids, options.categorical)
    known = dict.fromkeys(columns)
    for name in (*itertools.chain(*named), *options.numeric):
        require_column(name, known)
    names = _list_features(columns, (*targets, *dividing), options)
    if not names:
        raise DataError(
            f"has no column but the target {quoted_list(targets)}: expected features as well"
        )
    return names


def _list_features(
    columns: Sequence[str], others: Collection[str], options: TableOptions
) -> list[str]:
    chosen = columns if options.features is None else options.features
    left_out = {*others, *options.drop, *options.ids}
    return [name for name in chosen if name not in left_out]


def _read_columns(
    frame: pl.DataFrame,
    targets: tuple[str, ...],
    task: str,
    names: Sequence[str],
    options: TableOptions,
) -> tuple[Any, Any]:
    """Return the targets and the features; columns that are clear show how others are written."""
    try:
        target = _read_targets(frame, targets, task, options)
        return target, _read_features(frame[names], options)
    except AmbiguousNumbersError:
        decimal = find_decimal(frame[[*names, *targets]], options)
        if decimal is None or options.decimal is not None:
            raise
        return _read_columns(frame, targets, task, names, replace(options, decimal=decimal))


def _read_targets(
    frame: pl.DataFrame, targets: tuple[str, ...], task: str, options: TableOptions
) -> tuple[Column, tuple[Written, ...]]:
    """Return the target's column or an array (n_rows, n_targets), and how each is written.

    Values may be missing, but not all.

    Raises
    ------
    DataError
        If a target has no value, or if one of several targets is for classification.
    """
    columns: dict[str, Any] = {}
    written: list[Written] = []
    for name in targets:
        columns[name], form = _read_target(frame[name], task, options)
        if find_missing(columns[name]).all():
            raise refuse_unlabelled(name)
        written.append(form)
    if len(targets) == 1:
        return columns[targets[0]], tuple(written)
    if labelled := [name for name, column in columns.items() if isinstance(column, Strings)]:
        raise DataError(
            "several targets are predicted together if all are continuous, but "
            f"{labelled[0]!r} has classes: train a model for each target; for numbers that are no "
            "classes use the task 'regression' (--task regression)"
        )
    return np.column_stack([*columns.values()]), tuple(written)


def _read_target(series: pl.Series, task: str, options: TableOptions) -> tuple[Column, Written]:
    """Return the targets of a column, and how numbers are written.

    They are `Strings` if they are classes, or else numbers. Some may be missing.
    """
    name = series.name
    if task == "classification" or (task == "auto" and name in options.categorical):
        return _read_labels(series, options), None
    kind, column = read_column(series, target_options(name, task, options), is_target=True)
    if kind.values == "dates":
        raise refuse_dates(name)
    present = column[~find_missing(column)]
    if choose_task(present, task, name) == "classification":
        return _read_labels(series, options), None
    return column, kind.written  # type: ignore[return-value]  # dates are refused above


def _read_labels(series: pl.Series, options: TableOptions, known: Collection[str] = ()) -> Strings:
    keep = MISSING_MARKERS if series.name in options.categorical else known
    return read_labels(series, options.na_values, keep=keep)


def reread_targets(
    frame: pl.DataFrame,
    targets: tuple[str, ...],
    trained: Target,
    options: TableOptions,
) -> Column:
    """Return the target's column or an array (n_rows, n_targets), read as those of training."""
    written = written_forms(trained)
    if len(targets) != len(written):
        raise DataError(
            f"{plural(len(targets), 'target')} given: expected {len(written)}, as in training"
        )
    columns: list[Any] = [
        _read_labels(frame[name], options, trained.labels)
        if trained.labels is not None
        else _read_written(frame[name], form, options)
        for name, form in zip(targets, written)
    ]
    return columns[0] if len(targets) == 1 else np.column_stack(columns)


def select_features(
    frame: pl.DataFrame,
    features: Features,
    names: Sequence[str],
    options: TableOptions = NO_OPTIONS,
) -> np.ndarray | Table:
    """Return the columns that an encoding of tables needs, or for one of arrays those named."""
    markers = options.na_values
    if isinstance(features, Scaling):
        return np.column_stack([_read_written(frame[name], None, options) for name in names])
    require_columns(features.names, frame.columns)
    allowed = set(names)
    if others := [name for name in features.names if name not in allowed]:
        raise DataError(
            f"the model was trained with the features {quoted_list(others)}: expected none of them "
            "as target (--target) or id (--id), or left out (--drop, --features)"
        )
    table: dict[str, Column] = {}
    for number in features.numbers:
        series = frame[number.name]
        table[number.name] = _read_written(series, number.written, options, number.missing)
    for date in features.dates:
        missing = (*date.missing, *markers)
        table[date.name] = read_dates(frame[date.name], date.written, missing)
    for category in features.categories:
        values = frame[category.name]
        # Numbers are no markers but those that the user names.
        is_number = values.dtype.is_numeric()
        gaps = [*category.missing, *markers] if is_number else category.list_missing(options)
        strings = read_strings(values, gaps, keep=MISSING_MARKERS)
        table[category.name] = encode_strings(strings)
    return table


def _read_written(
    series: pl.Series, written: Written, options: TableOptions, missing: Sequence[str] = ()
) -> np.ndarray:
    """Return numbers that are written as in training, but for a decimal mark that was given."""
    missing = (*missing, *options.na_values)
    try:
        return read_numbers(series, _use_decimal(series, written, options), missing)
    except DataError as error:
        for mark in ".,":
            try:
                form = _use_decimal(series, written, replace(options, decimal=mark))
                read_numbers(series, form, missing)
            except DataError:
                continue
            raise DataError(
                f"{error}; if {mark!r} is the decimal mark here, pass --decimal {mark} (decimal=)"
            ) from error.__cause__
        raise


def _use_decimal(series: pl.Series, written: Written, options: TableOptions) -> Written:
    """Return how numbers are written if the decimal mark was given: points and commas may swap."""
    form, pl = written or NumberFormat(), polars()
    if options.decimal in (None, getattr(form, "decimal", None)) or series.dtype != pl.String:
        return written
    if not (isinstance(form, NumberFormat) and series.str.contains("[.,]").any()):
        return written
    thousands = {",": ".", ".": ","}.get(form.thousands, form.thousands)
    return replace(form, decimal=options.decimal, thousands=thousands)


def _read_features(
    frame: pl.DataFrame, options: TableOptions
) -> tuple[dict[str, Kind], dict[str, Column], list[str]]:
    """Return what the columns are, those that are features, and the names of those that are not."""
    read: dict[str, tuple[Kind, Column]] = {}
    refused: dict[str, DataError] = {}
    for name in frame.columns:
        try:
            read[name] = read_column(frame[name], options)
        except DataError as error:
            refused[name] = error
    if refused:
        raise _refuse_columns(refused)
    identifiers = [
        name for name, (_, column) in read.items() if is_identifier(frame[name], column, options)
    ]
    texts = [name for name, (_, column) in read.items() if isinstance(column, Strings)]
    identifiers = exclude_identifiers(frame.columns, identifiers, texts)
    kinds = {name: kind for name, (kind, _) in read.items()}
    table = {name: column for name, (_, column) in read.items() if name not in identifiers}
    return kinds, table, identifiers


def _refuse_columns(refused: Mapping[str, DataError]) -> DataError:
    """Return the error of the first column, which names the others."""
    ambiguous = [error for error in refused.values() if isinstance(error, AmbiguousNumbersError)]
    first = (*ambiguous, *refused.values())[0]
    names = [name for name, error in refused.items() if error is not first]
    return type(first)(f"{first}. Refused as well: {quoted_list(names)}") if names else first


def _drop_unlabelled(part: Part, targets: Sequence[str]) -> tuple[Part, int]:
    """Leave out the rows without a target, or one of several; return how many there were."""
    missing = find_missing(part.y).reshape(len(part.y), -1).any(axis=1)
    if not missing.any():
        return part, 0
    if missing.all():
        raise refuse_unlabelled(*targets)
    return part.take(np.nonzero(~missing)[0]), int(missing.sum())
