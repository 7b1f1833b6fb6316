"""The comparison of backends: it agrees where it should, and finds where a mistake begins."""

from dataclasses import dataclass

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.testing import HostReadError, compare_backends
from anyback_nn.testing.comparison import QUANTITIES, TOLERANCE


@pytest.fixture(scope="module")
def moons():
    return nn.datasets.make_moons(100, noise=0.1, seed=0)


def model(*layers, **options):
    layers = layers or (nn.Dense(8, bias=False), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2))
    return nn.Model(*layers, nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), **options)


@dataclass(frozen=True)
class Faulty(nn.Layer):
    """The identity, except for a mistake on one backend."""

    where: str
    forward_factor: float = 1.0
    backward_factor: float = 1.0

    def _factor(self, x, factor):
        return factor if self.where in nn.array_namespace(x).__name__ else 1.0

    def forward(self, params, x, context=nn.PREDICTION):
        return x * self._factor(x, self.forward_factor), None

    def backward(self, params, cache, dy):
        return dy * self._factor(dy, self.backward_factor), {}


def test_the_backend_under_test_agrees_with_numpy(backend, moons, dtype):
    comparison = compare_backends(model(dtype=dtype), moons, [backend], 30, batch_size=16)
    (run,) = comparison.runs
    assert comparison.agrees, comparison
    assert (run.backend, run.version, run.dtype) == (backend.spec, backend.version, dtype)
    assert run.tolerance == TOLERANCE[dtype]
    assert run.differences.keys() == set(QUANTITIES)
    assert all(len(rows) == 30 for rows in run.differences.values())
    assert run.scores["accuracy"] == pytest.approx(comparison.reference.scores["accuracy"])
    assert run.seconds > 0
    assert "agrees within" in str(comparison)


def test_it_trains_as_fit_does(moons):
    """The final scores are those of a model that was fitted in the same way."""
    unbuilt = model()
    (run,) = compare_backends(unbuilt, moons, "numpy", 14, batch_size=16).runs  # two epochs
    assert unbuilt.n_in is None
    fitted = model(backend="numpy")
    fitted.fit(*moons, epochs=2, batch_size=16)
    assert run.scores == fitted.evaluate(*moons)


@pytest.mark.parametrize(("kind", "least", "most"), [("float64", 0, 0), ("float32", 1e-12, 1e-5)])
def test_numpy_differs_by_rounding_alone(kind, least, most, moons):
    (run,) = compare_backends(model(dtype=kind), moons, ["numpy"], 5).runs
    for rows in run.differences.values():
        assert all(least <= row.relative <= most for row in rows)


def test_a_mistake_in_forward_is_found_in_its_layer(moons):
    class Cube(nn.Layer):
        def forward(self, params, x, context=nn.PREDICTION):
            return x * x * x, x

        def backward(self, params, cache, dy):
            return dy * 3.0 * cache * cache, {}

    faulty = model(nn.Dense(4), Faulty("strict", forward_factor=1.001), Cube(), dtype="float64")
    comparison = compare_backends(faulty, moons, ["numpy", "array-api-strict"], 3)
    right, wrong = comparison.runs
    assert right.agrees
    assert not wrong.agrees
    step, quantity, difference = wrong.first
    # In the next layer the difference is larger.
    assert (step, quantity, difference.name) == (1, "activations", "layer 1 (Faulty)")
    assert difference.relative == pytest.approx(0.001)
    assert not comparison.agrees
    assert not comparison
    expected = "array-api-strict float64: differs since step 1, first in the activations of layer 1"
    assert expected in str(comparison)


def test_a_mistake_in_backward_is_found_in_the_gradients(moons):
    faulty = model(nn.Dense(4), Faulty("strict", backward_factor=-1.0), nn.Tanh(), dtype="float64")
    (run,) = compare_backends(faulty, moons, ["array-api-strict"], 3).runs
    step, quantity, difference = run.first
    assert (step, quantity) == (1, "gradients")
    assert difference.name == "0.bias"  # going backward, the bias comes before the weight
    assert difference.relative == pytest.approx(2.0)
    assert {row.relative < 1e-12 for row in run.differences["activations"][:1]} == {True}


def test_a_mistake_in_an_optimizer_is_found_in_the_parameters(moons):
    @dataclass(frozen=True)
    class Late(nn.GradientDescent):
        """Wrong on array-api-strict, from the third step on."""

        def coefficients(self, step, rate):
            return (rate, step)

        def rule(self, p, g, kept, *coefficients):
            rate, step = coefficients
            wrong = step > 2 and "strict" in nn.array_namespace(p).__name__
            return super().rule(p, g, kept, rate * (1.5 if wrong else 1.0))

    (run,) = compare_backends(
        model(dtype="float64"), moons, ["array-api-strict"], 5, optimizer=Late(0.1)
    ).runs
    assert run.first[:2] == (3, "parameters")
    assert all(row.absolute < 1e-12 for row in run.differences["parameters"][:2])


def test_a_gradient_that_is_only_rounding_is_named(moons):
    """Batch normalisation removes the bias; Adam takes whole steps of what rounding leaves."""
    pointless = model(nn.Dense(8), nn.BatchNorm(), nn.Tanh())
    (run,) = compare_backends(pointless, moons, ["numpy"], 3).runs
    _, _, difference = run.first
    assert difference.name == "0.bias"


def test_nan_is_a_difference(moons):
    faulty = model(nn.Tanh(), Faulty("strict", forward_factor=float("nan")), dtype="float64")
    (run,) = compare_backends(faulty, moons, ["array-api-strict"], 2).runs
    assert run.first[:2] == (1, "activations")
    assert np.isnan(run.differences["activations"][0].relative)


def test_the_tolerance_can_be_chosen(moons):
    assert not compare_backends(model(), moons, ["numpy"], 2, tolerance=1e-9)
    assert compare_backends(model(), moons, ["numpy"], 2, tolerance=1.0)


def test_a_model_with_parameters_is_where_the_runs_begin(moons):
    trained = model(backend="array-api-strict")
    trained.fit(*moons, epochs=3)
    before = [to_numpy(x).copy() for x in trained.training.params]
    tiny = nn.GradientDescent(1e-30)
    options = {"optimizer": tiny, "batch_size": 100}
    (run,) = compare_backends(trained, moons, ["numpy"], 1, test=moons, **options).runs
    continued = trained.to("numpy")  # a step of no length moves the running statistics alone
    with pytest.warns(UserWarning, match="has not changed"):
        continued.fit(*moons, epochs=1, **options)
    assert run.scores == pytest.approx(continued.evaluate(*moons), rel=1e-5)
    for x, old in zip(trained.training.params, before):
        np.testing.assert_array_equal(to_numpy(x), old)


def test_regression_is_scored_by_r2():
    x = np.random.default_rng(0).normal(size=(40, 3))
    linear = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError())
    (run,) = compare_backends(linear, (x, x.sum(axis=1)), ["numpy"], 3).runs
    assert "r2" in run.scores


def test_a_model_without_parameters_can_be_compared(moons):
    still = nn.Model(nn.Tanh(), loss=nn.SoftmaxCrossEntropy())
    (run,) = compare_backends(still, moons, ["array-api-strict"], 2).runs
    assert run.agrees


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ValueError, "steps"),
        ({"batch_size": -5}, ValueError, "batch_size"),
        ({"model": model().build(3)}, nn.ShapeError, "takes 3 features, got inputs with 2"),
        ({"test": (np.ones((3, 3)), np.ones(3)), "model": model().build(2)}, nn.ShapeError, "2"),
        ({"backends": ["numpi"]}, ValueError, "unknown backend 'numpi'"),
        ({"backends": []}, ValueError, "at least one backend"),
        ({"dtype": "float16"}, ValueError, "float32, float64"),
        ({"backends": ["array-api-strict:no_float64"], "dtype": "float64"}, ValueError, "float32"),
        ({"optimizer": nn.Adam}, TypeError, "Optimizer"),
        ({"model": nn.Dense(2)}, TypeError, "expected a Model, got Dense"),
        ({"data": (np.ones((3, 2)),)}, TypeError, r"\(x, y\)"),
        ({"data": (np.ones((3, 2)), np.ones(4))}, nn.ShapeError, "3 rows"),
    ],
)
def test_misuse_is_explained(options, error, message, moons):
    arguments = {"model": model(), "data": moons, "backends": ["numpy"], "steps": 2, **options}
    with pytest.raises(error, match=message):
        compare_backends(**arguments)


def test_scalars_of_numpy_and_caches_of_any_kind(moons):
    class Named(Faulty):
        def forward(self, params, x, context=nn.PREDICTION):
            return x, "no array"

    optimizer = nn.Adam(0.01, l2=np.float64(0.01))
    assert compare_backends(
        model(Named("nowhere")), moons, "array-api-strict", 2, optimizer=optimizer
    )


def test_the_same_infinity_is_no_difference(moons):
    class Infinite(Faulty):
        def forward(self, params, x, context=nn.PREDICTION):
            return x + float("inf"), None

    bounded = model(Infinite("nowhere"), nn.Sigmoid(), dtype="float64")
    assert compare_backends(bounded, moons, "array-api-strict", 1)


def test_a_reference_that_diverges_is_no_difference(moons):
    wild = nn.GradientDescent(1e200)
    linear = nn.Model(nn.Dense(2), loss=nn.MeanSquaredError())
    data = moons[0], np.ones((100, 2))
    with pytest.raises(nn.DivergenceError, match="the loss of the reference itself became"):
        compare_backends(linear, data, ["numpy"], 20, optimizer=wild)


def test_reading_a_value_is_refused_where_the_device_is_pretended(moons):
    class Careless(Faulty):
        def forward(self, params, x, context=nn.PREDICTION):
            return (x if x[0, 0] > -1e9 else -x), None

    careless = model(Careless("nowhere"))
    assert compare_backends(careless, moons, "array-api-strict", 1)
    with pytest.raises(HostReadError, match="bool"):
        compare_backends(careless, moons, "array-api-strict:device1", 1)
