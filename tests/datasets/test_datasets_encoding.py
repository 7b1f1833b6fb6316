"""Encodings as plain data: exact there and back, and nothing believed unseen."""

import copy
import json

import numpy as np
import pytest

from anyback_nn.datasets import Encoding, encoding_from_json
from anyback_nn.datasets.features import CategoricalColumn, Columns, NumericColumn, Scaling
from anyback_nn.datasets.targets import ClassLabels, ContinuousTarget
from anyback_nn.errors import DataError

AGE = NumericColumn("age", median=0.1 + 0.2, mean=1 / 3, scale=5e-324)
TOWN = CategoricalColumn("town", ("Oslo", "Zürich", "missing"))
TABLE = Encoding(Columns((AGE,), (TOWN,)), ContinuousTarget(1e300, 1 / 7, "price"))
ARRAY = Encoding(Scaling(64, 16.0), ClassLabels(("no", "yes"), None))


@pytest.mark.parametrize("encoding", [TABLE, ARRAY])
def test_json_and_back(encoding):
    data = encoding.to_json()
    text = json.dumps(data, allow_nan=False)
    assert json.loads(text) == data
    assert encoding_from_json(json.loads(text)) == encoding


def test_surface():
    assert (TABLE.task, TABLE.classes, TABLE.n_features, TABLE.n_outputs) == (
        "regression",
        None,
        4,
        1,
    )
    assert (ARRAY.task, ARRAY.classes, ARRAY.n_features, ARRAY.n_outputs) == (
        "classification",
        ("no", "yes"),
        64,
        2,
    )
    assert ARRAY.decode(np.array([[1], [0]])).tolist() == [["yes"], ["no"]]
    price = Encoding(ARRAY.features, ContinuousTarget(100.0, 20.0))
    assert price.decode(np.array([[0.5]], dtype=np.float32)).tolist() == [[110.0]]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ((), None, "encoding is None: expected an object"),
        ((), {"features": {}}, "has the fields features: expected features, target"),
        (("features",), [], "encoding.features is of the kind None"),
        (("features", "kind"), "pickle", "kind 'pickle': expected one of 'scaling', 'columns'"),
        (("features", "kind"), ["columns"], r"kind \['columns'\]"),
        (("target", "kind"), "scaling", "kind 'scaling': expected one of 'classes', 'quantity'"),
        (("features", "extra"), 1, "expected numbers, categories; was it written by another"),
        (("features", "numbers"), "age", "features.numbers is 'age': expected a list"),
        (("features", "numbers", 0), 3, r"features.numbers\[0\] is 3: expected an object"),
        (("features", "numbers", 0, "mean"), "0", "mean is '0': expected a finite number"),
        (("features", "numbers", 0, "mean"), float("nan"), "mean is nan: expected a finite"),
        (("features", "numbers", 0, "mean"), 10**400, "mean is 1000.*: expected a finite"),
        (("features", "numbers", 0, "mean"), True, "mean is True: expected a finite number"),
        (("features", "numbers", 0, "scale"), 0, "column 'age' has the scale 0.0: expected above"),
        (("features", "numbers", 0, "name"), "town", "columns 'town', 'town': .* each once"),
        (("features", "categories", 0, "values"), [], "'town' has the categories \\(none\\)"),
        (("features", "categories", 0, "values"), ["a", "a"], "each once"),
        (("features", "categories", 0, "values"), [1], r"values\[0\] is 1: expected a text"),
        (("features",), {"kind": "columns", "numbers": [], "categories": []}, "at least one"),
        (("features",), {"kind": "scaling", "n_features": 2.5, "scale": 1}, "whole number"),
        (("features",), {"kind": "scaling", "n_features": 0, "scale": 1}, "above 0"),
        (("target", "scale"), -1.0, "standard deviation is -1.0"),
        (("target", "name"), 3, "target.name is 3: expected a text"),
        (("target",), {"kind": "classes", "name": None, "labels": ["a"]}, "one class only"),
        (("target",), {"kind": "classes", "name": None, "labels": ["a", "a"]}, "repeated"),
    ],
)
def test_json_that_is_not_understood(where, value, message):
    data = {"root": copy.deepcopy(TABLE.to_json())}
    spot = data
    path = ("root", *where)
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    with pytest.raises(DataError, match=message):
        encoding_from_json(data["root"])
