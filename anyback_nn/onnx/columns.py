"""Raw data in an ONNX graph: columns of a table to a network's input, its outputs to predictions.

The same as `anyback_nn.datasets.features` and `anyback_nn.datasets.targets` compute with NumPy and
polars on the host, in functions of the array API standard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, array_namespace, find_index_dtype
from anyback_nn.datasets import Encoding, encoding_from_json
from anyback_nn.datasets.columns import BOOLEANS, parse_markers
from anyback_nn.datasets.features import (
    MISSING,
    RARE,
    CategoricalColumn,
    Columns,
    NumericColumn,
    Scaling,
)
from anyback_nn.datasets.targets import ClassLabels, LogTarget, list_targets
from anyback_nn.errors import ExportError
from anyback_nn.onnx.graphs import Inputs, Values
from anyback_nn.utils.messages import quoted_list

__all__ = [
    "check_encoding",
    "decode",
    "describe_inputs",
    "describe_outputs",
    "draw_columns",
    "encode",
    "list_inputs",
    "standardize",
]


def check_encoding(encoding: Any, n_in: int, n_out: int, *, classifies: bool) -> Encoding:
    """Return an encoding, which may be given as its JSON, if it fits a network and its loss.

    Raises
    ------
    ExportError
        It is something else, or that of other data.
    """
    if isinstance(encoding, dict):
        encoding = encoding_from_json(encoding)
    if not isinstance(encoding, Encoding):
        hint = ": a data set has it as dataset.encoding" if hasattr(encoding, "encoding") else ""
        raise ExportError(f"encoding: expected an Encoding, got {type(encoding).__name__}{hint}")
    if not encoding.fits(n_in, n_out, classifies=classifies):
        raise ExportError(
            f"the network has {n_in} inputs and {n_out} outputs, and its loss "
            f"{'classifies' if classifies else 'does not classify'}: expected the encoding of its "
            f"own data, got one of {encoding.n_features} features and {encoding.n_outputs} outputs "
            f"for {encoding.task}"
        )
    return encoding


def list_inputs(encoding: Encoding) -> Inputs:
    """Return the shape of a row and the dtype of each input, raw as they are in the data.

    An array is the input ``x``. Each column of a table is an input of its name: numbers are
    float64, NaN where they are missing; categories are strings, empty where they are missing.

    Raises
    ------
    ExportError
        The encoding has a part that no graph has.
    """
    features = encoding.features
    if isinstance(features, Scaling):
        return {"x": ((features.n_features,), "float32")}
    if features.dates:
        raise ExportError(
            f"the columns {quoted_list(date.name for date in features.dates)} hold dates, which an "
            "ONNX graph does not read: expected numbers and categories; train without them "
            "(--drop), or with numbers in their place, such as days"
        )
    names = {"probabilities", *encoding.prediction_names}
    if wrong := [name for name in features.names if not name or name in names]:
        raise ExportError(
            f"the columns {quoted_list(wrong)} cannot be inputs of an ONNX graph: expected names "
            f"that are not empty and none of its outputs, {quoted_list(names)}; rename them in the "
            "data of training"
        )
    return {
        **{column.name: ((), "float64") for column in features.numbers},
        **{column.name: ((), "utf8") for column in features.categories},
    }


def describe_inputs(encoding: Encoding) -> dict[str, str]:
    """Return what the values of each input are, and which are missing."""
    features = encoding.features
    if isinstance(features, Scaling):
        most = "" if features.scale == 1.0 else f", integers from 0 to {features.scale:g}"
        return {"x": f"{features.n_features} raw features{most}"}
    numbers = {
        column.name: f"{column.written or 'numbers'}; NaN is missing" for column in features.numbers
    }
    categories = {
        column.name: f"strings of {len(column.values)} categories; empty ones are missing"
        for column in features.categories
    }
    return numbers | categories


def describe_outputs(encoding: Encoding) -> dict[str, str]:
    """Return what the values of the outputs are."""
    if encoding.classes is None:
        return dict.fromkeys(encoding.prediction_names, "in the target's own units")
    classes = quoted_list(encoding.classes, limit=100)
    return {"prediction": "the class", "probabilities": f"of the classes {classes}"}


def encode(encoding: Encoding, inputs: Mapping[str, Array]) -> Array:
    """Turn raw inputs into those of the network."""
    features = encoding.features
    if isinstance(features, Scaling):
        return inputs["x"] if features.scale == 1.0 else inputs["x"] / features.scale
    from anyback_nn.backends.ndonnx import look_up

    xp = array_namespace(next(iter(inputs.values())))
    parts = []
    if features.numbers:
        columns = []
        for column in features.numbers:
            values = inputs[column.name]
            for marker in _list_markers(column, encoding):
                values = xp.where(values == marker, xp.nan, values)
            columns.append(values)
        parts.append(_standardize(features, xp.stack(columns, axis=1)))
    for category in features.categories:
        index = look_up(inputs[category.name], *_list_spellings(category, encoding))
        known = xp.arange(len(category.values), dtype=index.dtype)
        parts.append(xp.astype(index[:, None] == known, xp.float32))
    return xp.concat(parts, axis=1)


def _standardize(features: Columns, raw: Array) -> Array:
    """Fill the gaps, subtract the means and divide by the scales, as `NumericColumn` does."""
    xp = array_namespace(raw)
    settings = [(c.median, c.mean, c.scale) for c in features.numbers]
    medians, means, scales = (xp.asarray(column, dtype=xp.float64) for column in zip(*settings))
    return xp.astype((xp.where(xp.isnan(raw), medians, raw) - means) / scales, xp.float32)


def _list_spellings(column: CategoricalColumn, encoding: Encoding) -> tuple[dict[str, int], int]:
    """Return the category of every string that has one, and that of all others (-1 for none)."""
    known = {value: i for i, value in enumerate(column.values)}
    other = known.get(RARE, -1)
    # In the order of `read_strings`, which strips the strings.
    missing = [text for text in column.list_missing(encoding.options) if text == text.strip()]
    spellings = known | dict.fromkeys(missing, known.get(MISSING, other))
    return spellings | {text: known.get(value, other) for text, value in BOOLEANS.items()}, other


def _list_markers(column: NumericColumn, encoding: Encoding) -> list[float]:
    """Return the numbers that are missing values."""
    markers = (*column.missing, *encoding.options.na_values)
    return parse_markers(markers).to_list() if markers else []


def decode(encoding: Encoding, predictions: Array, classes: Array | None) -> dict[str, Array]:
    """Turn what a network predicts into labels, or into the target's own units.

    Parameters
    ----------
    encoding : Encoding
    predictions : array, shape (n_samples, n_outputs)
        Probabilities or standardised values.
    classes : array, shape (n_samples,), optional
        The index of each sample's class.
    """
    xp, target = array_namespace(predictions), encoding.target
    if isinstance(target, ClassLabels):
        index = xp.astype(classes, find_index_dtype(xp))
        labels = xp.take(xp.asarray(np.asarray(target.labels)), index, axis=0)
        return {"prediction": labels, "probabilities": predictions}
    values = xp.astype(predictions, xp.float64)
    parts = enumerate(list_targets(target))
    columns = [part.restore(values[:, i]) for i, part in parts]
    return dict(zip(encoding.prediction_names, columns, strict=True))


def standardize(encoding: Encoding, outputs: Values) -> Values:
    """Turn predictions of continuous targets back into standardised values, to compare them."""
    if encoding.classes is not None:
        return outputs
    values = {}
    for name, target in zip(encoding.prediction_names, list_targets(encoding.target)):
        with np.errstate(divide="ignore"):
            raw = np.log1p(outputs[name]) if isinstance(target, LogTarget) else outputs[name]
        values[name] = (raw - target.mean) / target.scale
    return values


def draw_columns(encoding: Encoding, n_rows: int, random: Any) -> Values:
    """Draw raw inputs like those of training, some of them missing or not seen there."""
    features = encoding.features
    if isinstance(features, Scaling):
        shape = (n_rows, features.n_features)
        if features.scale == 1.0:
            return {"x": random.standard_normal(shape).astype(np.float32)}
        return {"x": random.integers(0, int(features.scale) + 1, shape).astype(np.float32)}
    values: dict[str, Any] = {}
    for column in features.numbers:
        numbers = column.mean + column.scale * random.standard_normal(n_rows)
        gaps = [np.nan, *_list_markers(column, encoding)]
        is_gap = random.random(n_rows) < 0.2
        values[column.name] = np.where(is_gap, random.choice(gaps, n_rows), numbers)
    for category in features.categories:
        strings = [*_list_spellings(category, encoding)[0], "(never seen)"]
        values[category.name] = random.choice(np.asarray(strings, dtype=object), n_rows)
    return values
