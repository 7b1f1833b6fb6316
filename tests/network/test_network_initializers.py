"""How weights begin: the papers' variances, the same numbers everywhere, the fitting default."""

import math

import numpy as np
import pytest

from anyback_nn.array_api import to_numpy
from anyback_nn.backends import select
from anyback_nn.network import initializers
from anyback_nn.network.activations import (
    ELU,
    GELU,
    SELU,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from anyback_nn.network.initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
    Orthogonal,
    Zeros,
)
from anyback_nn.network.layers import BatchNorm, Dense, Dropout, LayerNorm
from anyback_nn.network.network import Network, Residual
from anyback_nn.random import Random, generator

# The variances that the papers ask for: equation 10 of He et al., equation 12 of Glorot and Bengio,
# section 4.6 of LeCun et al.
VARIANCES = {
    (200, 300): {"He": 0.01, "Glorot": 0.004, "LeCun": 0.005},
    (400, 100): {"He": 0.005, "Glorot": 0.004, "LeCun": 0.0025},
}
# Initialiser, its paper, and the fourth moment in units of the squared variance.
SCALED = [
    (HeNormal(), "He", 3.0),
    (HeUniform(), "He", 1.8),
    (GlorotNormal(), "Glorot", 3.0),
    (GlorotUniform(), "Glorot", 1.8),
    (LeCunNormal(), "LeCun", 3.0),
    (LeCunUniform(), "LeCun", 1.8),
]
RANDOM = [*(row[0] for row in SCALED), Orthogonal(), Orthogonal(math.sqrt(2.0))]
each_scaled = pytest.mark.parametrize(("initializer", "paper", "fourth_moment"), SCALED)
each_shape = pytest.mark.parametrize("shape", VARIANCES)


def draw(initializer, shape, backend=None, dtype="float64", seed=0):
    backend = backend or select("numpy")
    return to_numpy(initializer(shape, Random(generator(seed, "weights"), backend, dtype)))


@each_shape
@each_scaled
def test_mean_and_variance(initializer, paper, fourth_moment, shape):
    weight, variance = draw(initializer, shape), VARIANCES[shape][paper]
    # Five standard deviations of the mean and of the variance of so many draws.
    assert abs(weight.mean()) < 5 * math.sqrt(variance / weight.size)
    error = 5 * variance * math.sqrt((fourth_moment - 1) / weight.size)
    assert abs(np.mean(weight**2) - variance) < error
    # The fourth moment tells a normal distribution from a uniform one.
    assert abs(np.mean(weight**4) / variance**2 - fourth_moment) < 0.2
    limit, largest = math.sqrt(3 * variance), np.abs(weight).max()
    assert (0.999 * limit < largest <= limit) == (fourth_moment == 1.8)


def test_every_initializer_is_tested():
    tested = {type(one).__name__ for one in (*RANDOM, Constant(0.1), Zeros())}
    assert tested == set(initializers.__all__) - {"Initializer"}


@pytest.mark.parametrize("gain", [1.0, 1.5])
@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 3), (3, 1)])
def test_orthogonal(shape, gain, backend, dtype):
    weight = draw(Orthogonal(gain), shape, backend, dtype)
    assert weight.shape == shape
    smaller = weight.T @ weight if shape[0] >= shape[1] else weight @ weight.T
    expected = gain**2 * np.eye(min(shape))
    np.testing.assert_allclose(smaller, expected, atol={"float32": 1e-6, "float64": 1e-14}[dtype])


def test_orthogonal_draws_from_all_rotations_and_reflections():
    """Without the correction of the signs, every 2 x 2 matrix would be a reflection."""
    determinants = [np.linalg.det(draw(Orthogonal(), (2, 2), seed=seed)) for seed in range(200)]
    reflections = sum(determinant < 0 for determinant in determinants)
    assert abs(reflections - 100) < 5 * math.sqrt(200 / 4)


def test_constants(backend, dtype):
    assert np.all(draw(Constant(0.1), (3, 2), backend, dtype) == np.asarray(0.1, dtype=dtype))
    assert np.all(draw(Zeros(), (3, 2), backend, dtype) == 0.0)


def test_layers_draw_different_weights():
    network = Network(Dense(4), Dense(4), Residual(Dense(4)))
    draws = Random(generator(0, "weights"), select("numpy"), "float64")
    first, second, (third,) = network.init(4, draws)
    assert not np.any(first["weight"] == second["weight"])
    assert not np.any(second["weight"] == third["weight"])
    assert not np.any(first["bias"])


def chosen(*layers):
    return Network(*layers).layers[0].initializer


@pytest.mark.parametrize(
    ("activation", "initializer"),
    [
        (Identity(), GlorotUniform()),
        (Sigmoid(), GlorotUniform()),
        (Tanh(), GlorotUniform()),
        (Softmax(), GlorotUniform()),
        (ReLU(), HeNormal()),
        (LeakyReLU(), HeNormal()),
        (ELU(), HeNormal()),
        (GELU(), HeNormal()),
        (SiLU(), HeNormal()),
        (Softplus(), HeNormal()),
        (SELU(), LeCunNormal()),
    ],
)
def test_default_suits_the_activation(activation, initializer):
    assert chosen(Dense(3), activation) == initializer
    assert chosen(Dense(3), BatchNorm(), Dropout(0.1), LayerNorm(), activation) == initializer
    assert Residual(Dense(3), activation).layers[0].initializer == initializer


@pytest.mark.parametrize(
    "after",
    [
        (),
        (Dropout(0.5),),
        (Dense(2), ReLU()),
        (Residual(Dense(3), ReLU()), ReLU()),
        (Network(Dense(2), Tanh()), ReLU()),
    ],
    ids=repr,
)
def test_default_of_the_last_layer_before_others_is_glorot(after):
    """Another layer's activation is not its own."""
    assert chosen(Dense(3), *after) == GlorotUniform()


def test_last_layer_of_a_block_is_glorot():
    network = Network(Dense(3), ReLU(), Residual(Dense(5), ReLU(), Dense(3)), ReLU())
    block = network.layers[2]
    assert [layer.initializer for layer in block.layers if isinstance(layer, Dense)] == [
        HeNormal(),
        GlorotUniform(),
    ]


def test_a_chosen_initializer_stays():
    assert chosen(Dense(3, initializer=Zeros()), ReLU()) == Zeros()


def test_a_dense_layer_alone_draws_glorot(backend):
    draws = [Random(generator(0, "weights"), backend, "float32") for _ in range(2)]
    weight = Dense(20).init(30, draws[0])["weight"]
    np.testing.assert_array_equal(to_numpy(weight), to_numpy(GlorotUniform()((30, 20), draws[1])))
