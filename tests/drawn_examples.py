"""Properties for all examples, and how many examples Hypothesis draws."""

from __future__ import annotations

import functools
import os
import warnings
from zlib import crc32

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisWarning
from hypothesis.extra.array_api import make_strategies_namespace

for profile, examples in {"people": 4, "ci": 12}.items():
    settings.register_profile(
        profile,
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.generate, Phase.shrink],
    )
settings.load_profile("ci" if os.environ.get("CI") else "people")

MOST = {"array-api-strict": 8, "jax": 2}
"""The most examples of a property on backends that compile for every shape, or check every call."""


def for_all(backend, *drawn, examples=None):
    """Try a property on drawn examples, at most ``examples``, the same ones in every run."""
    limits = (settings.default.max_examples, MOST.get(backend.name), examples)
    # To look for smaller examples takes JAX minutes.
    phases = [Phase.generate] if backend.name == "jax" else settings.default.phases
    return try_property(*drawn, max_examples=min(filter(None, limits)), phases=phases)


def try_property(*drawn, **options):
    """Try a property on drawn examples, the same ones in every run."""

    def try_it(holds):
        seed(number_of_test())(settings(**options)(given(*drawn)(holds)))()

    return try_it


def number_of_test():
    """Return a number for each test, so that they see different examples."""
    return crc32(os.environ["PYTEST_CURRENT_TEST"].encode())


@functools.cache
def strategies(backend):
    """Create Hypothesis's strategies for the backend's library."""
    with warnings.catch_warnings():
        # PyTorch's tensors have no `__array_namespace__`.
        warnings.simplefilter("ignore", HypothesisWarning)
        return make_strategies_namespace(backend.xp, api_version="2022.12")
