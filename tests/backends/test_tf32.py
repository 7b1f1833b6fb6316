"""TF32: switched on within a backend's scope, and not a moment longer.

No GPU is here: tested is the setting of the library, not its effect.
"""

from __future__ import annotations

import pickle
from types import ModuleType, SimpleNamespace

import pytest
from cupy_stand_in import MODULES, installed

import anyback_nn as nn
from anyback_nn.backends import BACKENDS, select
from anyback_nn.backends.base import load
from anyback_nn.errors import BackendUnavailableError


@pytest.fixture
def tf32(backend):
    """Return a function that returns whether the library multiplies in TF32 at the moment.

    Tests with this fixture are left out on backends without TF32.
    """
    if backend.name == "torch":
        import torch

        return lambda: torch.backends.cuda.matmul.fp32_precision == "tf32"
    if backend.name == "jax":
        import jax

        return lambda: jax.config.jax_default_matmul_precision == "tensorfloat32"
    from cupy._core import _routines_linalg as products

    return lambda: products.get_compute_type("float32") == products.COMPUTE_TYPE_TF32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_within_the_scope(backend, dtype, tf32):
    on_tf32 = select(backend, tf32=True)
    assert not tf32()
    with on_tf32.scope(dtype):
        with on_tf32.scope("float32"):
            assert tf32()
        assert tf32()
        assert on_tf32.asarray([1.0], dtype).dtype == getattr(backend.xp, dtype)
    assert not tf32()
    with pytest.raises(KeyError), on_tf32.scope(dtype):
        raise KeyError
    assert not tf32()


def test_off_nothing_is_set(backend, tf32):
    with backend.scope("float32"):
        assert not tf32()


def test_training_is_within_it(backend, tf32):
    seen = []

    class Look(nn.Callback):
        def on_batch_end(self, fit):
            seen.append(tf32())

    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), backend=select(backend, tf32=True))
    x, y = nn.datasets.make_moons(40, seed=0)
    model.fit(x, y, epochs=1, callbacks=[Look()], progress=False)
    assert seen == [True, True]
    plain = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    plain.fit(x, y, epochs=1, callbacks=[Look()], progress=False)
    assert seen == [True, True, False, False]


def test_other_options_do_not_change_it(backend, tf32):
    on_tf32 = select(backend.spec, tf32=True)
    assert on_tf32 == select(select(backend.spec), tf32=True) != select(backend.spec)
    assert select(on_tf32) is on_tf32
    both = select(on_tf32, masks_on_device=True)
    assert (both.tf32, both.masks_on_device) == (True, True)
    assert not select(on_tf32, tf32=False).tf32
    assert pickle.loads(pickle.dumps(on_tf32)) == on_tf32


@pytest.mark.needs("jax")
def test_jax_multiplies_in_float32_unless_the_user_has_set_something_else():
    import jax

    backend = select("jax")

    def precision():
        with backend.scope("float32"):
            return jax.config.jax_default_matmul_precision

    assert precision() == "float32"
    with jax.default_matmul_precision("bfloat16"):
        assert precision() == "bfloat16"
    assert jax.config.jax_default_matmul_precision is None


@pytest.mark.parametrize("spec", ["numpy", "array-api-strict"])
def test_refused_without_it(spec, monkeypatch):
    message = f"backend '{spec}': it has no TF32.* use one of cupy, torch, jax"
    with pytest.raises(BackendUnavailableError, match=message):
        select(spec, tf32=True)
    with pytest.raises(BackendUnavailableError, match=message):
        select(load(BACKENDS[spec])(), tf32=True)
    monkeypatch.setenv("ANYBACK_NN_BACKEND", spec)
    with pytest.raises(BackendUnavailableError, match=f"{message}.*environment variable"):
        select(tf32=True)


def test_the_setting_of_cupy(monkeypatch):
    """A stand-in with the two functions that CuPy has for it."""
    types = {"float32": "default"}

    products = SimpleNamespace(
        COMPUTE_TYPE_TF32="tf32",
        get_compute_type=types.__getitem__,
        set_compute_type=types.__setitem__,
    )
    core = ModuleType("cupy._core")
    core._routines_linalg = products
    monkeypatch.setitem(MODULES, "cupy._core", core)
    with installed():
        on_cupy = load(BACKENDS["cupy"])
        with on_cupy().scope("float32"):
            assert types == {"float32": "default"}
        with on_cupy(tf32=True).scope("float32"):
            assert types == {"float32": "tf32"}
        with pytest.raises(KeyError), on_cupy(tf32=True).scope("float32"):
            raise KeyError
    assert types == {"float32": "default"}
