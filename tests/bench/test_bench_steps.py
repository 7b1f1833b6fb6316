"""Training steps to be timed are those of `Model.fit`."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.bench import Steps


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_steps_are_those_of_fit(backend, dropout):
    """On as many rows as the steps need, an epoch is the same as in `Model.fit`."""
    x, y = nn.datasets.make_blobs(96, seed=0)
    layers = (nn.Dense(8), nn.ReLU(), nn.Dropout(dropout), nn.Dense(3))
    model, reference = (
        nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend).build(2) for _ in "ab"
    )
    steps = Steps(model, x, y, nn.Adam(), batch_size=32)
    assert steps(3) > 0
    assert steps(3) > 0
    reference.fit(x, y, optimizer=nn.Adam(), epochs=2, batch_size=32)
    assert model.training.step == reference.training.step == 6
    for loss, expected in zip(model.history["train_loss"], reference.history["train_loss"]):
        assert loss == pytest.approx(expected, rel=1e-6)


def test_batches_that_are_larger_than_the_data(backend):
    x, y = np.arange(10.0)[:, None] / 10, np.arange(10.0)
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend).build(1)
    steps = Steps(model, x, y, nn.GradientDescent(1e-6), batch_size=64)
    steps(2)
    assert model.training.step == 2
