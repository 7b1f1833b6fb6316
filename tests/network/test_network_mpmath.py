"""Activations, their derivatives and their tails, as far out as 1e30, against mpmath."""

from functools import cache

import numpy as np
import pytest
from network_cases import FUNCTIONS, each_function

from anyback_nn.array_api import to_numpy
from anyback_nn.network.activations import log_sum_exp, softmax

mpmath = pytest.importorskip("mpmath")
mp = mpmath.mp.clone()
mp.dps = 60

SIZES = [1e-30, 1e-8, 1e-3, 0.1, 0.7, 1, 2, 3, 5, 8, 10, 12, 20, 35, 50, 80]
SIZES += [88, 90, 95, 100, 103, 110, 300, 700, 709, 720, 740, 745, 750, 1e3, 1e4, 1e10, 1e30]
FUNCTIONS_BY_NAME = {case.name: case for case in FUNCTIONS if not case.options}
POINTS = np.asarray([*SIZES, *(-size for size in SIZES)])
ROWS = [
    [5.0],
    [0.0, 0.0],
    [0.0, 1e-8],
    [-700.0, -700.0],
    [50.0, 49.0],
    [1e4, 9999.0],
    [-1e4, -9999.0],
    [1e4, -1e4],
    [-1e30, 1e30],
    [0.5, -1.0, -80.0, -90.0, -100.0, -700.0, -740.0],
]


def sigmoid(z):
    return 1 / (1 + mp.exp(-z))


def elu(z, alpha=1):
    return z if z > 0 else alpha * mp.expm1(z)


EXACT = {
    "sigmoid": sigmoid,
    "tanh": mp.tanh,
    "relu": lambda z: max(z, mp.mpf(0)),
    "leaky_relu": lambda z, slope=0.01: z if z > 0 else slope * z,
    "elu": elu,
    "selu": lambda z: (
        mp.mpf("1.0507009873554804934193") * elu(z, mp.mpf("1.6732632423543772848170"))
    ),
    # (1 + tanh(u)) / 2 is sigmoid(2 u).
    "gelu": lambda z: z * sigmoid(mp.sqrt(8 / mp.pi) * (z + mp.mpf("0.044715") * z**3)),
    "silu": lambda z: z * sigmoid(z),
    "softplus": lambda z: mp.log1p(mp.exp(z)),
}
DIFFERENCES = {"value": {"gelu"}, "slope": {"sigmoid", "tanh", "elu", "selu", "gelu"}}
"""Functions that are differences of numbers of the size 1, exact to the last digits of those."""


@cache
def exact(case, what, dtype):
    def function(z):
        return EXACT[case.name](z, *case.options)

    compute = function if what == "value" else lambda z: mp.diff(function, z)
    return np.asarray([float(compute(mp.mpf(float(z)))) for z in POINTS.astype(dtype)])


def assert_exact(actual, expected, size, backend, dtype, factor=1.0):
    """Assert that the error is within the last digits of ``size``, or of the smallest number.

    The latter counts times ``factor``, which the result may have been multiplied by. NumPy's is
    subnormal; XLA makes subnormal numbers 0, and the standard leaves it open.
    """
    limits = np.finfo(dtype)
    gradual = backend.name in ("numpy", "array-api-strict")
    smallest = limits.smallest_subnormal if gradual else limits.smallest_normal
    error = np.abs(to_numpy(actual).astype(np.float64) - expected)
    allowed = 16 * float(limits.eps) * np.abs(size) + 2 * float(smallest) * factor
    assert np.all(error <= allowed), error / allowed


@pytest.mark.parametrize("what", ["value", "slope"])
@each_function
def test_function(case, what, backend, dtype):
    expected = exact(case, what, dtype)
    size = np.maximum(np.abs(expected), 1.0) if case.name in DIFFERENCES[what] else expected
    actual = getattr(case, what)(backend.asarray(POINTS, dtype))
    assert_exact(actual, expected, size, backend, dtype, np.maximum(np.abs(POINTS), 1.0))


def test_the_lower_tail_of_gelu_keeps_its_digits(backend, dtype):
    """But for those that the exponent, up to 60 in size, loses."""
    tail = np.asarray([-1.0, -2.0, -3.0, -5.0, -8.0])
    expected = np.asarray([float(EXACT["gelu"](mp.mpf(z))) for z in tail])
    actual = FUNCTIONS_BY_NAME["gelu"].value(backend.asarray(tail, dtype))
    assert_exact(actual, expected, 60 * expected, backend, dtype)


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_log_sum_exp_and_softmax(row, backend, dtype):
    z = np.asarray([row], dtype=dtype)
    powers = [mp.exp(mp.mpf(float(x))) for x in z[0]]
    total = mp.fsum(powers)
    expected = np.asarray([[float(mp.log(total))]])
    assert_exact(log_sum_exp(backend.asarray(z)), expected, expected, backend, dtype)
    expected = np.asarray([[float(power / total) for power in powers]])
    assert_exact(softmax(backend.asarray(z)), expected, expected, backend, dtype)


@pytest.mark.usefixtures("backend")
def test_every_function_is_compared():
    assert EXACT.keys() == {case.name for case in FUNCTIONS}
