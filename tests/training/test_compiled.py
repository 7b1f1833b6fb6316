"""What is compiled for models: who holds it, and how it is dropped."""

import gc
import weakref

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.training import engine

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)
FIT = {"epochs": 1, "progress": False}


def create_model(backend, width=4):
    layers = nn.Dense(width), nn.Tanh(), nn.Dense(2)
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)


def compiled(model):
    return model.get_compiled("a test", lambda: lambda x: x)


def test_layers_of_models_that_are_gone_do_not_stay(backend):
    layers = []
    for width in range(1, 21):
        model = create_model(backend, width).build(3)
        compiled(model)
        layers.append(weakref.ref(model.network.layers[0]))
    del model
    gc.collect()
    # The last ones serve the next fold of a cross-validation.
    assert all(layer() is None for layer in layers[:-8])
    assert layers[-1]() is not None


def test_a_model_keeps_what_was_compiled_for_it(backend):
    model = create_model(backend).build(3)
    function = compiled(model)
    for width in range(5, 25):
        compiled(create_model(backend, width).build(3))
    assert compiled(model) is function
    assert compiled(create_model(backend).build(3)) is function


def test_everything_compiled_can_be_dropped(backend):
    model, other = create_model(backend), create_model(backend)
    for each in model, other:
        each.fit(X, Y, **FIT)
    function, expected = compiled(model), model.predict(X)
    dropped = weakref.ref(function)
    del function
    nn.clear_compiled()
    assert dropped() is None
    np.testing.assert_array_equal(model.predict(X), expected)
    for each in model, other:  # training goes on
        each.fit(X, Y, **FIT)
    np.testing.assert_array_equal(model.predict(X), other.predict(X))


def test_compiled_functions_can_be_dropped_during_training(backend):
    class Clear(nn.Callback):
        def on_epoch_end(self, fit):
            nn.clear_compiled()

    models = [create_model(backend) for _ in range(2)]
    for model, callbacks in zip(models, ([], [Clear()])):
        model.fit(X, Y, epochs=3, callbacks=callbacks, progress=False)
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


@pytest.mark.needs("jax")
def test_jax_drops_what_it_compiled_for_a_model_that_is_gone():
    import jax

    def count():
        engine._shared.cache_clear()
        gc.collect()
        return len(jax.devices()[0].client.live_executables())

    counts = []
    for width in (51, 52):  # the first time, also what does not depend on the architecture
        model = create_model("jax", width)
        model.fit(X, Y, **FIT)
        model.predict(X)
        assert len(model.params) == 3
        del model
        counts.append(count())
    assert counts[0] == counts[1]
