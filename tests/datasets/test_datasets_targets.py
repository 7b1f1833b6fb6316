"""Targets: which task they suggest, labels, and units."""

import numpy as np
import pytest

from anyback_nn.datasets import load, read
from anyback_nn.datasets.targets import ClassLabels, ContinuousTarget
from anyback_nn.errors import DataError


@pytest.mark.parametrize("dtype", [float, np.int64, np.uint8])
@pytest.mark.parametrize("values", [["2", "10"], [2.0, 10.0], [2, 10], ["2.0", "10.0"]])
def test_integers_may_be_labels_of_any_type(dtype, values):
    classes = ClassLabels.fit(np.array([10, 2], dtype=dtype))
    assert classes.labels == ("2", "10")
    kind = object if isinstance(values[0], str) else type(values[0])
    assert classes.encode(np.array(values, dtype=kind)).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        (("1.0", "2.0"), ["1", "2"]),
        (("False", "True"), ["false", "TRUE"]),
        (("1", "1.0"), ["1", "1.0"]),
        (("true", "True"), ["true", "True"]),
        (("FALSE", "true"), ["False", "TRUE"]),
    ],
)
def test_the_same_value_as_software_writes_it_is_the_same_label(labels, texts):
    assert ClassLabels(labels).encode(np.array(texts, dtype=object)).tolist() == [0, 1]


@pytest.mark.parametrize("text", ["01", "1e0", "1.00", "+1", "TRUE "])
def test_other_spellings_are_other_labels(text):
    with pytest.raises(DataError, match="is not one of the classes"):
        ClassLabels(("1", "true")).encode(np.array([text], dtype=object))


def test_labels_have_all_digits_of_integers(tmp_path):
    labels = np.array([2**53, 2**53 + 1, 5] * 5)
    np.savez(tmp_path / "a.npz", x=np.arange(30.0).reshape(15, 2), y=labels)
    data = load(tmp_path / "a.npz")
    assert data.encoding.classes == ("5", "9007199254740992", "9007199254740993")
    rows = read(tmp_path / "a.npz", data.encoding, with_target=True)
    assert data.encoding.decode(rows.y).tolist() == list(map(str, labels))


def test_predictions_have_more_digits_than_outputs():
    when = ContinuousTarget(1.7e9, 3600.0)  # seconds: float32 knows them to two minutes
    outputs = np.array([0.5, -1.25], dtype=np.float32)
    assert when.decode(outputs).tolist() == [1.7e9 + 1800.0, 1.7e9 - 4500.0]
