"""Raw data in an ONNX graph: the columns of a table to a network's input, its outputs to answers.

The same as `anyback_nn.datasets.features` and `anyback_nn.datasets.targets` compute with NumPy and
polars on the host, in functions of the array API standard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.datasets import Encoding
from anyback_nn.datasets.columns import BOOLEANS, MISSING_MARKERS, parse_markers
from anyback_nn.datasets.features import MISSING, RARE, CategoricalColumn, Columns, Scaling
from anyback_nn.datasets.targets import (
    ClassLabels,
    ContinuousTarget,
    ContinuousTargets,
    LogTarget,
    target_names,
)
from anyback_nn.errors import ExportError
from anyback_nn.onnx.graphs import Inputs, Values
from anyback_nn.utils.messages import quoted_list

__all__ = ["decode", "draw_columns", "encode", "list_inputs", "list_outputs"]


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
    names = list_outputs(encoding)
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


def list_outputs(encoding: Encoding) -> list[str]:
    """Return the names of the outputs, which are those of the columns of ``anyback-nn predict``."""
    if encoding.classes is not None:
        return ["prediction", "probabilities"]
    if encoding.n_outputs == 1:
        return ["prediction"]
    return [f"prediction_{name}" for name in target_names(encoding.target)]


def encode(encoding: Encoding, inputs: Mapping[str, Array]) -> Array:
    """Turn raw inputs into those of the network."""
    features = encoding.features
    if isinstance(features, Scaling):
        return inputs["x"] if features.scale == 1.0 else inputs["x"] / features.scale
    from anyback_nn.backends.ndonnx import look_up

    xp = array_namespace(next(iter(inputs.values())))
    markers = encoding.options.na_values
    parts = []
    if features.numbers:
        columns = []
        for column in features.numbers:
            values = inputs[column.name]
            for marker in parse_markers((*column.missing, *markers)).to_list():
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
    options = encoding.options
    keep = MISSING_MARKERS if column.name in options.categorical else column.values
    missing = {*MISSING_MARKERS} - {*keep} | {"", *column.missing, *options.na_values}
    spellings = known | {text: known[value] for text, value in BOOLEANS.items() if value in known}
    return spellings | dict.fromkeys(sorted(missing), known.get(MISSING, other)), other


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
        labels = xp.take(xp.asarray(np.asarray(target.labels)), classes, axis=0)
        return {"prediction": labels, "probabilities": predictions}
    targets = target.targets if isinstance(target, ContinuousTargets) else (target,)
    values = (_decode(part, predictions[:, i]) for i, part in enumerate(targets))
    return dict(zip(list_outputs(encoding), values))


def _decode(target: ContinuousTarget, values: Array) -> Array:
    """Turn standardised values into float64 in the target's own units."""
    xp = array_namespace(values)
    values = xp.astype(values, xp.float64) * target.scale + target.mean
    return xp.expm1(values) if isinstance(target, LogTarget) else values


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
        values[column.name] = np.where(random.random(n_rows) < 0.1, np.nan, numbers)
    for category in features.categories:
        strings: Sequence[str] = [*_list_spellings(category, encoding)[0], "(never seen)"]
        values[category.name] = random.choice(np.asarray(strings, dtype=object), n_rows)
    return values
