"""Small data sets, and fits that need not converge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.preprocessing import scale


def pytest_collection_modifyitems(items):
    """Allow fits that do not converge: few epochs are enough here."""
    allowed = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(allowed, append=False)  # a test's own filter comes after, and wins


@pytest.fixture(scope="module")
def iris():
    """Some flowers of each class, in no order."""
    x, y = load_iris(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(y))[:60]
    return scale(x)[chosen], y[chosen]


@pytest.fixture(scope="module")
def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    return scale(x)[:80, :4], y[:80]


@pytest.fixture(scope="module")
def values():
    """Two targets that are functions of three inputs."""
    x = np.random.default_rng(0).normal(size=(50, 3))
    return x, np.stack([np.sin(x[:, 0]) + x[:, 1], x[:, 1] * x[:, 2]], axis=1)
