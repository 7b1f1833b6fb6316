"""Small data sets, and fits that need not converge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn_cases import load_examples, load_problem


def pytest_collection_modifyitems(items):
    """Allow fits that do not converge: few epochs are enough here."""
    allowed = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(allowed, append=False)  # a test's own filter comes after, and wins


@pytest.fixture(scope="module")
def iris():
    """Some flowers of each class, in no order."""
    return load_examples("classes")


@pytest.fixture(scope="module")
def tumours():
    x, y = load_problem("binary")
    return x[:80, :4], y[:80]


@pytest.fixture(scope="module")
def values():
    """Two targets that are functions of three inputs."""
    x = np.random.default_rng(0).normal(size=(50, 3))
    return x, np.stack([np.sin(x[:, 0]) + x[:, 1], x[:, 1] * x[:, 2]], axis=1)
