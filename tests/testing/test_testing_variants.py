"""The variants of backends find mistakes that the backends themselves do not."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import BACKENDS
from anyback_nn.testing import MATRIX, VARIANTS, select, usable
from anyback_nn.testing.variants import under_test


def test_the_matrix_has_every_backend_and_every_variant():
    assert {spec.partition(":")[0] for spec in MATRIX} == set(BACKENDS)
    assert set(VARIANTS) <= set(MATRIX)
    assert all(
        spec == f"{spec.partition(':')[0]}:{kind.variant}" for spec, kind in VARIANTS.items()
    )


def test_real_backends_are_selected_as_always():
    assert select("numpy") == nn.select("numpy")
    with pytest.raises(ValueError, match="unknown backend 'numpi'"):
        select("numpi")


def test_variants_are_none_of_the_backends_that_users_select():
    for spec in VARIANTS:
        with pytest.raises(nn.BackendUnavailableError):
            nn.select(spec)


def test_backends_that_cannot_compute_here_are_listed(monkeypatch):
    monkeypatch.setattr("anyback_nn.backends.base.importlib.util.find_spec", lambda name: None)
    backends, missing = usable()
    assert backends == []
    assert list(missing) == list(MATRIX)
    assert "cupy is not installed" in missing["cupy"]


def test_read_only_arrays_cannot_be_written_to():
    backend = select("numpy:readonly")
    mine = np.zeros(3)
    x = backend.asarray(mine)
    with pytest.raises(ValueError, match="read-only"):
        x += 1
    mine += 1  # the user's array is still writable


def test_a_read_only_step_may_write_into_donated_arrays_alone():
    def step(donated, other, nested):
        donated += 1
        with pytest.raises(ValueError, match="read-only"):
            other += 1
        with pytest.raises(ValueError, match="read-only"):
            nested[0]["a"][...] = 1
        return donated

    arrays = np.zeros(2), np.zeros(2), ({"a": np.zeros(2)}, 1.5, None)
    result = select("numpy:readonly").jit(step, donate=(0,))(*arrays)
    assert result is arrays[0]
    assert result.tolist() == [1.0, 1.0]


def test_the_strictest_backend_has_nothing_optional():
    backend = select("array-api-strict:strictest")
    x = backend.asarray([1.0, -1.0])
    xp = backend.xp
    assert to_numpy(x[x > 0]).tolist() == [1.0]
    with under_test(backend):
        for refused in (
            lambda: x[x > 0],
            lambda: xp.nonzero(x),
            lambda: xp.unique_values(x),
            lambda: xp.linalg.qr,
        ):
            with pytest.raises((RuntimeError, AttributeError), match="strict|linalg"):
                refused()
    assert to_numpy(x[x > 0]).tolist() == [1.0]


@pytest.mark.needs("jax")
def test_eager_jax_computes_values_while_a_step_runs():
    assert select("jax:eager").jit(float)(select("jax").asarray([1.0])[0]) == 1.0
    with pytest.raises(TypeError):
        select("jax").jit(float)(select("jax").asarray([1.0])[0])
