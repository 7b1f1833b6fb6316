"""Targets: which task they suggest, labels, and units."""

import numpy as np
import pytest

from anyback_nn.datasets.targets import ClassLabels, ContinuousTarget


@pytest.mark.parametrize("labels", [["2", "10"], [2.0, 10.0]])
def test_labels_that_are_numbers_may_be_written_in_any_way(labels):
    classes = ClassLabels.fit(np.array([10.0, 2.0]))
    assert classes.labels == ("2", "10")
    kind = object if isinstance(labels[0], str) else float
    assert classes.encode(np.array(labels, dtype=kind)).tolist() == [0, 1]
    assert classes.encode(np.array(["2.0", "10.0"], dtype=object)).tolist() == [0, 1]


def test_predictions_have_more_digits_than_outputs():
    when = ContinuousTarget(1.7e9, 3600.0)  # seconds: float32 knows them to two minutes
    outputs = np.array([0.5, -1.25], dtype=np.float32)
    assert when.decode(outputs).tolist() == [1.7e9 + 1800.0, 1.7e9 - 4500.0]
