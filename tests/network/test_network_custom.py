"""Layers and losses of a user's own: classes with two methods, which need no registration."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from array_api_compat import array_namespace

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.testing import check_gradients


@dataclass(frozen=True)
class Power(nn.Layer):
    """``y = |x|^exponent``, where the exponent of each feature is learned."""

    start: float = 0.75

    def init(self, n_in, draws):
        return {"exponent": draws.full((n_in,), self.start)}

    def forward(self, params, x, context=nn.PREDICTION):
        xp = array_namespace(x)
        y = xp.abs(x) ** params["exponent"]
        return y, (x, y)

    def backward(self, params, cache, dy):
        x, y = cache
        xp = array_namespace(dy)
        dx = dy * params["exponent"] * y / x
        return dx, {"exponent": xp.sum(dy * y * xp.log(xp.abs(x)), axis=-2)}


class Square(nn.Layer):
    """The two methods, and nothing else."""

    def forward(self, params, x, context=nn.PREDICTION):
        return x * x, x

    def backward(self, params, cache, dy):
        return 2.0 * cache * dy, {}


class LogCosh(nn.Loss):
    """The two methods of a loss, and nothing else."""

    def forward(self, outputs, targets):
        xp = array_namespace(outputs)
        error = outputs - targets
        return xp.sum(xp.log(xp.cosh(error)), axis=-1), error

    def backward(self, cache, dvalues):
        return array_namespace(cache).tanh(cache) * dvalues[..., None]


NETWORK = nn.Network(nn.Dense(4), Power(), Square(), nn.Dense(2))


def numbers():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.uniform(0.5, 2.0, 5)


def test_gradients(backend, float64):
    check_gradients(NETWORK, (5, 3), backend=backend, dtype=float64)
    check_gradients(LogCosh(), (5, 2), backend=backend, dtype=float64)


def test_gradient_descent_lowers_the_loss(backend, dtype):
    x, targets, weights = numbers()
    model = nn.Model(*NETWORK.layers, loss=LogCosh(), backend=backend, dtype=dtype)
    options = {"optimizer": nn.GradientDescent(0.02), "epochs": 30, "sample_weight": weights}
    losses = model.fit(x, targets, **options)["train_loss"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]


def test_defaults_of_a_layer():
    layer = Square()
    assert layer.output_size(7) == 7
    assert layer.init(7, None) == layer.init_state(7, None) == {}
    assert layer.next_state({"kept": 1}, None) == {"kept": 1}
    assert layer.noise((2, 7), None) is None


def test_defaults_of_a_loss(backend):
    loss = LogCosh()
    targets = backend.asarray([1.0, 2.0], "float32")
    assert to_numpy(loss.check_targets(targets, 1)).shape == (2, 1)
    assert loss.link(targets) is targets
    assert not loss.classifies


@pytest.mark.parametrize("kind", [nn.Layer, nn.Loss])
def test_both_methods_are_needed(kind):
    class Half(kind):
        def forward(self, *arguments):
            return arguments

    with pytest.raises(TypeError, match="backward"):
        Half()


class Chosen(nn.Layer):
    """The first two features: a view of the inputs, where the library has views."""

    def output_size(self, n_in):
        return 2

    def forward(self, params, x, context=nn.PREDICTION):
        return x[:, :2], x

    def backward(self, params, cache, dy):
        xp = array_namespace(dy)
        return xp.concat([dy, xp.zeros_like(cache[:, 2:])], axis=1), {}


def test_predictions_are_not_the_memory_of_the_inputs(backend, float64):
    x = numbers()[0]
    before = x.copy()
    model = nn.Model(Chosen(), loss=LogCosh(), backend=backend, dtype=float64)
    predicted = model.build(3).predict(x)
    predicted[:] = 0.0
    np.testing.assert_array_equal(x, before)


def test_predictions_of_an_own_loss(backend, float64):
    """It is called each time: nothing that it returned is kept."""

    class Own(nn.SoftmaxCrossEntropy):
        factor = 2.0
        link = staticmethod(partial(lambda factor, outputs: Own.factor / factor * outputs, 2.0))
        decide = staticmethod(lambda outputs: array_namespace(outputs).argmin(outputs, axis=-1))

    x = numbers()[0]
    model = nn.Model(nn.Dense(4), loss=Own(), backend=backend, dtype=float64).build(3)
    raw = model.predict(x)
    np.testing.assert_array_equal(model.predict_classes(x), raw.argmin(axis=1))
    Own.factor = 6.0
    np.testing.assert_allclose(model.predict(x), 3.0 * raw, rtol=1e-12)


# Mistakes ----------------------------------------------------------------------------------------


def returning(forward=lambda x: (x, x), backward=lambda dy: (dy, {}), names=()):
    """A layer whose methods return these."""

    class Mine(nn.Layer):
        def init(self, n_in, draws):
            return {name: draws.full((n_in,), 1.0) for name in names}

        def forward(self, params, x, context=nn.PREDICTION):
            return forward(x)

        def backward(self, params, cache, dy):
            return backward(dy)

    return Mine()


LAYERS = {
    "no pair": (
        returning(forward=lambda x: x),
        TypeError,
        r"Mine.forward: .* a pair, \(y, cache\), got \w+ of shape \(2, 4\)",
    ),
    "no pair of gradients": (
        returning(backward=lambda dy: dy),
        TypeError,
        r"Mine.backward: .* a pair, \(dx, grads\), got \w+ of shape",
    ),
    "another width": (
        returning(forward=lambda x: (x[:, :3], x)),
        nn.ShapeError,
        r"output_size\(4\) is 4; got shape \(2, 3\)\. .* defines output_size\(self, n_in\)",
    ),
    "no samples": (
        returning(forward=lambda x: (x[0, :], x)),
        nn.ShapeError,
        r"Mine.forward: expected an output of shape \(2, 4\) .* got shape \(4,\)(\n|$)",
    ),
    "no gradient": (
        returning(names=("scale",)),
        nn.ShapeError,
        r"'scale' of a layer is missing.* backward of a layer returns a gradient for each",
    ),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_must_return_is_explained(name, first, backend):
    # Of two rows, an array can be unpacked like a pair.
    x, (layer, error, text) = np.ones((2, 4)), LAYERS[name]
    layers = (layer, nn.Dense(4)) if first else (nn.Dense(4), layer)
    model = nn.Model(*layers, loss=nn.MeanSquaredError(), backend=backend)
    with pytest.raises(error, match=text):
        model.fit(x, x)
    if "Mine.forward" in text:
        with pytest.raises(error, match=text):
            model.build(4).predict(x)


@pytest.mark.parametrize(
    ("forward", "error", "text"),
    [
        (lambda e: e[:, 0], TypeError, r"Mine.forward: .* a pair, \(values, cache\)"),
        (lambda e: (array_namespace(e).mean(e), e), nn.ShapeError, r"shape \(2,\), got shape \(\)"),
        (lambda e: (e, e), nn.ShapeError, r"one value per sample.* got shape \(2, 4\)\. Sum over"),
        (lambda e: (1.0, e), nn.ShapeError, r"one value per sample, shape \(2,\), got float\."),
    ],
)
def test_what_a_loss_must_return_is_explained(forward, error, text, backend):
    class Mine(LogCosh):
        def forward(self, outputs, targets):
            return forward(outputs - targets)

    x = np.ones((2, 4))
    model = nn.Model(nn.Dense(4), loss=Mine(), backend=backend).build(4)
    for call in (model.fit, model.evaluate):
        with pytest.raises(error, match=text):
            call(x, x)


@pytest.mark.parametrize(
    ("base", "name", "method", "expected"),
    [
        (nn.Layer, "forward", lambda self, x: x, r"forward\(self, params, x, context\)"),
        (nn.Layer, "backward", lambda self, dy: dy, r"backward\(self, params, cache, dy\)"),
        (nn.Layer, "output_size", lambda self: 3, r"output_size\(self, n_in\)"),
        (nn.Layer, "init", lambda self, n_in: {}, r"init\(self, n_in, draws\)"),
        (nn.Loss, "forward", lambda self, outputs: outputs, r"forward\(self, outputs, targets\)"),
        (nn.Loss, "backward", lambda self, cache: cache, r"backward\(self, cache, dvalues\)"),
        (nn.Schedule, "__call__", lambda self, epoch: 0.1, r"__call__\(self, epoch, history\)"),
    ],
)
def test_methods_with_other_arguments_are_refused_where_they_are_defined(
    base, name, method, expected
):
    with pytest.raises(TypeError, match=rf"Mine: expected  def {expected}, got  def {name}\(self"):
        type("Mine", (base,), {name: method})
    type("Mine", (base,), {name: lambda *arguments: None})
