"""Encodings as plain data: exact there and back, and nothing believed unseen."""

import copy
import json

import numpy as np
import pytest

from anyback_nn.datasets import Encoding, encoding_from_json
from anyback_nn.datasets.features import (
    CategoricalColumn,
    Columns,
    DateColumn,
    NumericColumn,
    Scaling,
)
from anyback_nn.datasets.targets import ClassLabels, ContinuousTarget
from anyback_nn.errors import DataError

AGE = NumericColumn("age", median=0.1 + 0.2, mean=1 / 3, scale=5e-324)
TOWN = CategoricalColumn("town", ("Oslo", "Zürich", "missing"))
TABLE = Encoding(Columns((AGE,), (TOWN,)), ContinuousTarget(1e300, 1 / 7, "price"))
ARRAY = Encoding(Scaling(64, 16.0), ClassLabels(("no", "yes"), None))


# As version 0.1 wrote them.
TABLE_OF_FORMAT_1 = {
    "features": {
        "kind": "columns",
        "numbers": [{"name": "age", "median": 0.30000000000000004, "mean": 1 / 3, "scale": 5e-324}],
        "categories": [{"name": "town", "values": ["Oslo", "Zürich", "missing"]}],
    },
    "target": {"kind": "quantity", "name": "price", "mean": 1e300, "scale": 1 / 7},
}
ARRAY_OF_FORMAT_1 = {
    "features": {"kind": "scaling", "n_features": 64, "scale": 16.0},
    "target": {"kind": "classes", "name": None, "labels": ["no", "yes"]},
}


@pytest.mark.parametrize(
    ("data", "encoding"), [(TABLE_OF_FORMAT_1, TABLE), (ARRAY_OF_FORMAT_1, ARRAY)]
)
def test_format_1_is_read(data, encoding):
    assert encoding_from_json(data) == encoding
    assert json.dumps(encoding_from_json(data).to_json()) == json.dumps(encoding.to_json())


@pytest.mark.parametrize("encoding", [TABLE, ARRAY])
def test_json_and_back(encoding):
    data = encoding.to_json()
    text = json.dumps(data, allow_nan=False)
    assert json.loads(text) == data
    assert encoding_from_json(json.loads(text)) == encoding


def test_surface():
    assert (TABLE.task, TABLE.classes) == ("regression", None)
    assert (TABLE.n_features, TABLE.n_outputs) == (4, 1)
    assert (ARRAY.task, ARRAY.classes) == ("classification", ("no", "yes"))
    assert (ARRAY.n_features, ARRAY.n_outputs) == (64, 2)
    assert ARRAY.decode(np.array([[1], [0]])).tolist() == [["yes"], ["no"]]
    price = Encoding(ARRAY.features, ContinuousTarget(100.0, 20.0))
    assert price.decode(np.array([[0.5]], dtype=np.float32)).tolist() == [[110.0]]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ((), None, "encoding is None: expected Encoding"),
        ((), {"features": {}}, "has the fields 'features': expected 'features', 'target'"),
        (("features",), [], "encoding.features is a list: expected Scaling or Columns"),
        (("features", "kind"), "pickle", "features is of the kind 'pickle', which is not defined"),
        (("features", "kind"), ["columns"], r"kind \['columns'\]"),
        (("target", "kind"), "scaling", "kind 'scaling': expected ClassLabels or Cont"),
        (("features", "extra"), 1, "expected 'numbers', 'categories', 'dates'; was it written by"),
        (("features", "numbers"), "age", "features.numbers is 'age': expected a list"),
        (("features", "numbers", 0), 3, r"features.numbers\[0\] is 3: expected Nu"),
        (("features", "numbers", 0, "mean"), "0", "mean is '0': expected a finite number"),
        (("features", "numbers", 0, "mean"), float("nan"), "mean is nan: expected a finite"),
        (("features", "numbers", 0, "mean"), 10**400, "mean is 1000.*: expected a finite"),
        (("features", "numbers", 0, "mean"), True, "mean is True: expected a finite number"),
        (("features", "numbers", 0, "scale"), 0, "column 'age' has the scale 0: expected above"),
        (("features", "numbers", 0, "name"), "town", "columns 'town', 'town': .* each once"),
        (("features", "categories", 0, "values"), [], "'town' has the categories \\(none\\)"),
        (("features", "categories", 0, "values"), ["a", "a"], "each once"),
        (("features", "categories", 0, "values"), [1], r"values\[0\] is 1: expected a string"),
        (("features",), {"kind": "columns", "numbers": [], "categories": []}, "at least one"),
        (("features",), {"kind": "scaling", "n_features": 2.5, "scale": 1}, "expected an integer"),
        (("features",), {"kind": "scaling", "n_features": 0, "scale": 1}, "above 0"),
        (("target", "scale"), -1.0, "standard deviation is -1.0"),
        (("target", "name"), 3, "target.name is 3: expected a string"),
        (("target",), {"kind": "classes", "name": None, "labels": ["a"]}, "one class only"),
        (("target",), {"kind": "classes", "name": None, "labels": ["a", "a"]}, "repeated"),
    ],
)
def test_json_that_is_not_understood(where, value, message):
    data = {"root": copy.deepcopy(TABLE_OF_FORMAT_1)}
    spot = data
    path = ("root", *where)
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    with pytest.raises(DataError, match=message):
        encoding_from_json(data["root"])


def test_parts_that_dates_do_not_have():
    part = NumericColumn("century", 0.0, 0.0, 1.0)
    with pytest.raises(DataError, match="dates of 'day' have the parts 'century': .* 'year'"):
        DateColumn("day", (part,))
