"""What the pictures show: models that have been trained a little, and figures that are closed."""

import os
import sys

import numpy as np
import pytest

import anyback_nn as nn

os.environ["MPLBACKEND"] = "agg"  # no windows


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def train(x, y, n_out, loss, n_hidden=8, epochs=10, **options):
    model = nn.Model(nn.Dense(n_hidden), nn.Tanh(), nn.Dense(n_out), loss=loss, dtype="float64")
    model.fit(x, y, optimizer=nn.Adam(0.02), epochs=epochs, validation=0.2, **options)
    return model


@pytest.fixture(scope="session")
def moons():
    return nn.datasets.make_moons(200, noise=0.1, seed=0)


@pytest.fixture(scope="session")
def moons_model(moons):
    return train(*moons, 2, nn.SoftmaxCrossEntropy(), epochs=40)


@pytest.fixture(scope="session")
def blobs():
    """Three classes around (-3, 0), (3, 0) and (0, 4)."""
    centers = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    y = np.arange(150) % 3
    return centers[y] + 0.5 * np.random.default_rng(0).normal(size=(150, 2)), y


@pytest.fixture(scope="session")
def blobs_model(blobs):
    return train(*blobs, 3, nn.SoftmaxCrossEntropy(), epochs=60)


@pytest.fixture(scope="session")
def waves():
    x = np.random.default_rng(0).uniform(-2, 2, (100, 2))
    return x, np.sin(x[:, 0]) * x[:, 1]


@pytest.fixture(scope="session")
def waves_model(waves):
    return train(*waves, 1, nn.MeanSquaredError())
