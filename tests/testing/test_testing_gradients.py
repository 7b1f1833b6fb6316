"""The gradient check passes right derivatives, and names what is wrong with others."""

from dataclasses import dataclass

import numpy as np
import pytest
from network_cases import LAYERS, LOSSES

import anyback_nn as nn
from anyback_nn.testing import GradientError, HostReadError, check_gradients


@dataclass(frozen=True)
class Scale(nn.Layer):
    """y = x w + b, elementwise, with a mistake if one is named."""

    factor: float = 1.0
    mistake: str = ""

    def init(self, n_in, draws):
        return {"w": draws.full((n_in,), 1.0), "b": draws.full((n_in,), 0.0)}

    def init_state(self, n_in, draws):
        return {"s": draws.full((n_in,), 1.0)}

    def forward(self, params, x, context=nn.PREDICTION):
        if self.mistake == "writes in forward":
            x *= 1.0
            x += 1.0
        y = x * params["w"][..., None, :] + params["b"][..., None, :]
        if self.mistake == "forgets the state in backward":
            y = y * context.state["s"][..., None, :]
        if self.mistake == "returns the output alone":
            return y
        if self.mistake == "makes float64":
            y = y + nn.array_namespace(x).zeros(1, dtype=nn.array_namespace(x).float64)
        if self.mistake == "branches":
            y = y if y[0, 0] > -1e9 else -y
        if self.mistake == "jumps":
            y = nn.array_namespace(x).round(y * 1e7)
        return y, x

    def backward(self, params, cache, dy):
        xp = nn.array_namespace(dy)
        dx = self.factor * dy
        if self.mistake != "forgets the weight in backward":
            dx = dx * params["w"][..., None, :]
        grads = {"w": xp.sum(dy * cache, axis=-2), "b": xp.sum(dy, axis=-2)}
        if self.mistake == "writes in backward":
            dy *= 2.0
        if self.mistake == "forgets a parameter":
            del grads["b"]
        if self.mistake == "sums too much":
            grads["b"] = xp.sum(dy)
        if self.mistake == "returns another dtype":
            grads["b"] = xp.astype(grads["b"], xp.float32)
        if self.mistake == "returns a number":
            dx = 1.0
        if self.mistake == "NaN":
            dx = dx * float("nan")
        return dx, grads

    def gradients(self, params, cache, dy):
        grads = self.backward(params, cache, dy)[1]
        return {**grads, "w": 2.0 * grads["w"]} if self.mistake == "other gradients" else grads


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_every_layer_passes(case, backend, dtype):
    n_in = case.n_in or 3
    report = check_gradients(
        case.make(3), (4, n_in), backend=backend, dtype=dtype, training=case.training
    )
    assert report.error < {"float32": 2e-5, "float64": 1e-7}[dtype]


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)
def test_every_loss_passes(case, backend, dtype):
    targets = case.draw(3)[1]
    for given in (None, targets):
        check_gradients(case.loss, (5, 3), backend=backend, dtype=dtype, targets=given)


@pytest.mark.parametrize("shape", [(1, 1), (2, 4, 3), (2, 1, 2, 3)])
def test_any_shape_of_input(shape, backend, finest):
    report = check_gradients(Scale(), shape, backend=backend, dtype=finest)
    assert report.errors.keys() == {"input", "w", "b"}


def test_the_report_names_the_worst_element():
    @dataclass(frozen=True)
    class Corner(Scale):
        def backward(self, params, cache, dy):
            dx, grads = super().backward(params, cache, dy)
            wrong = np.zeros_like(dx)
            wrong[2, 1] = 0.5
            return dx + wrong, grads

    with pytest.raises(GradientError, match=r"worst entry is that of input\[2, 1\]: backward"):
        check_gradients(Corner(), (4, 3))
    report = check_gradients(Corner(), (4, 3), tolerance=10.0)
    assert (report.name, report.index, report.factor) == ("input", (2, 1), None)
    assert report.backward - report.differences == pytest.approx(0.5, abs=1e-8)
    assert report.error == report.errors["input"] > 0.01 > report.errors["w"]


@pytest.mark.parametrize("factor", [-1.0, 2.0, 0.25, 0.0])
def test_a_common_factor_is_named(factor):
    with pytest.raises(GradientError, match=f"All entries of it are off by the factor {factor:g}"):
        check_gradients(Scale(factor), (4, 3))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("writes in forward", r"forward writes into an array of shape \(4, 3\)"),
        ("writes in backward", r"backward writes into an array of shape \(4, 3\)"),
        ("forgets a parameter", r"gradients for \['w'\], but the parameters are \['b', 'w'\]"),
        ("sums too much", r"the gradient of b has shape \(\), not \(3,\)"),
        (
            "returns another dtype",
            "in .*float64, the gradient of b has dtype .*float32, not .*float64",
        ),
        ("returns a number", "dx is 1.0, not an array"),
        ("other gradients", r"gradients\(\) and backward\(\) differ in w"),
        ("NaN", "backward gives nan"),
        # Both are 1 at first.
        ("forgets the weight in backward", "the worst entry is that of input"),
        ("forgets the state in backward", "the worst entry is that of"),
        ("returns the output alone", r"forward returns Array, expected \(y, cache\)"),
        ("makes float64", "of input in .*float32, the output has dtype .*float64, not .*float32"),
        ("jumps", "at none of 8 points do differences of the output converge"),
    ],
)
def test_mistakes_are_explained(mistake, message):
    with pytest.raises(GradientError, match=message):
        check_gradients(Scale(mistake=mistake), (4, 3), backend="array-api-strict")


@pytest.mark.parametrize("backend", ["numpy", "numpy:readonly"])
def test_writing_is_found_on_numpy_too(backend):
    with pytest.raises(GradientError, match="forward writes into an array"):
        check_gradients(Scale(mistake="writes in forward"), (4, 3), backend=backend)


def test_reading_a_value_is_refused_where_the_device_is_pretended():
    branching = Scale(mistake="branches")
    assert check_gradients(branching, (4, 3), backend="array-api-strict").error < 1e-8
    with pytest.raises(HostReadError, match="bool"):
        check_gradients(branching, (4, 3), backend="array-api-strict:device1")


def test_a_loss_that_forgets_the_weights_of_samples_is_found():
    class Unweighted(nn.MeanSquaredError):
        def backward(self, cache, dvalues):
            return super().backward(cache, nn.array_namespace(dvalues).ones_like(dvalues))

    with pytest.raises(GradientError, match="the worst entry is that of input"):
        check_gradients(Unweighted(), (4, 3))


def test_randomness_outside_of_noise_is_found():
    class Random(Scale):
        def forward(self, params, x, context=nn.PREDICTION):
            y, cache = super().forward(params, x)
            return y + np.random.default_rng().normal(), cache

    with pytest.raises(GradientError, match="does not give the same twice.*noise"):
        check_gradients(Random(), (4, 3))


def test_another_device_is_found():
    class Elsewhere(Scale):
        def backward(self, params, cache, dy):
            dx, grads = super().backward(params, cache, dy)
            return nn.select("array-api-strict").asarray(dx), grads

    with pytest.raises(GradientError, match="dx has device .*CPU_DEVICE.*, not .*device1"):
        check_gradients(Elsewhere(), (4, 3), backend="array-api-strict:device1")


# Kinks -------------------------------------------------------------------------------------------


def test_kinks_are_avoided_and_not_tolerated():
    """Deep and wide, so that some unit is near 0 at most points; its tolerance stays."""
    layers = [nn.Dense(30), nn.ReLU()] * 4
    report = check_gradients(nn.Network(*layers, nn.Dense(2)), (20, 5), max_entries=60)
    assert report.error < 1e-6


@pytest.mark.parametrize("distance", [0.0, 1e-7, 2e-6, 3.4e-6, 6e-6, 9e-6])
def test_a_kink_at_the_given_point_is_no_mistake(distance):
    x = np.full((3, 2), 1.0)
    x[1, 1] = distance
    with pytest.raises(GradientError, match="Its input was given: choose one away from kinks"):
        check_gradients(nn.ReLU(), (3, 2), x=x)
    x[1, 1] = -2e-5
    assert check_gradients(nn.ReLU(), (3, 2), x=x).error < 1e-9


def test_a_kink_elsewhere_than_at_zero():
    class HardTanh(nn.Layer):
        def forward(self, params, x, context=nn.PREDICTION):
            xp = nn.array_namespace(x)
            return xp.minimum(xp.maximum(x, -1.0), 1.0), x

        def backward(self, params, cache, dy):
            xp = nn.array_namespace(dy)
            return dy * xp.astype(xp.abs(cache) < 1.0, dy.dtype), {}

    assert check_gradients(HardTanh(), (50, 10)).error < 1e-9


# Use ---------------------------------------------------------------------------------------------


def test_a_network_names_its_layers():
    report = check_gradients(nn.Network(nn.Dense(2), nn.Tanh(), nn.Dense(1)), (3, 2))
    assert list(report.errors) == ["input", "0.weight", "0.bias", "2.weight", "2.bias"]
    assert "the worst entry is that of" in str(report)


def test_large_arrays_are_checked_at_some_elements():
    with pytest.raises(GradientError, match="factor -1"):
        check_gradients(Scale(-1.0), (300, 300), max_entries=5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"subject": np.exp}, TypeError, "expected a layer, a network or a loss, got <ufunc"),
        ({"subject": nn.Dense}, TypeError, "got <class .*Dense"),
        ({"x": np.ones((2, 2))}, nn.ShapeError, r"x has shape \(2, 2\).*to check is \(4, 3\)"),
        ({"dtype": "float16"}, ValueError, "one of float32, float64"),
        (
            {"backend": "array-api-strict:no_float64"},
            ValueError,
            "'array-api-strict:no_float64' has no float64: use float32",
        ),
        ({"shape": (3,)}, nn.ShapeError, r"\(n_samples, n_features\)"),
        ({"shape": 3}, nn.ShapeError, r"\(n_samples, n_features\).* got 3"),
        ({"shape": (0, 3)}, nn.ShapeError, "at least one of each"),
        ({"max_entries": 0}, ValueError, "max_entries"),
    ],
)
def test_misuse_is_explained(options, error, message):
    arguments = {"subject": nn.Tanh(), "shape": (4, 3), **options}
    with pytest.raises(error, match=message):
        check_gradients(**arguments)


def test_a_loss_of_which_no_targets_can_be_drawn():
    class Ranking(nn.Loss):
        forward = backward = None

        def check_targets(self, targets, n_out, *, values=True):
            raise nn.DataError("only ranks")

    with pytest.raises(GradientError, match="pass targets="):
        check_gradients(Ranking(), (4, 3))


@pytest.mark.parametrize("loss", [nn.BinaryCrossEntropy(), nn.MeanSquaredError(), nn.Poisson()])
def test_targets_may_be_integers_as_in_training(loss):
    check_gradients(loss, (3, 1), targets=[1, 0, 1], backend="array-api-strict")


def test_gradients_may_sum_in_another_order():
    class Reordered(Scale):
        def gradients(self, params, cache, dy):
            grads = self.backward(params, cache, dy)[1]
            return {name: (g * 3.0) / 3.0 for name, g in grads.items()}

    check_gradients(Reordered(), (40, 3))
