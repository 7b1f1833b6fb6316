"""Initial weights: the variances of the papers, and the default that suits the activation.

random/test_random.py shows that they are the same bits on every backend.
"""

import math

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.network import initializers
from anyback_nn.random import Random, generator

# The variances that the papers ask for: equation 10 of He et al., equation 12 of Glorot and Bengio,
# section 4.6 of LeCun et al.
VARIANCES = {
    (200, 300): {"He": 0.01, "Glorot": 0.004, "LeCun": 0.005},
    (400, 100): {"He": 0.005, "Glorot": 0.004, "LeCun": 0.0025},
}
# Initialiser, its paper, and the fourth moment in units of the squared variance.
SCALED = [
    (nn.HeNormal(), "He", 3.0),
    (nn.HeUniform(), "He", 1.8),
    (nn.GlorotNormal(), "Glorot", 3.0),
    (nn.GlorotUniform(), "Glorot", 1.8),
    (nn.LeCunNormal(), "LeCun", 3.0),
    (nn.LeCunUniform(), "LeCun", 1.8),
]
each_scaled = pytest.mark.parametrize(("initializer", "paper", "fourth_moment"), SCALED)
each_shape = pytest.mark.parametrize("shape", VARIANCES)


def draws(seed=0):
    return Random(generator(seed, "weights"), nn.select("numpy"), "float64")


@each_shape
@each_scaled
def test_mean_and_variance(initializer, paper, fourth_moment, shape):
    weight, variance = initializer(shape, draws()), VARIANCES[shape][paper]
    # Five standard deviations of the mean and of the variance of this many draws.
    assert abs(weight.mean()) < 5 * math.sqrt(variance / weight.size)
    error = 5 * variance * math.sqrt((fourth_moment - 1) / weight.size)
    assert abs(np.mean(weight**2) - variance) < error
    # The fourth moment distinguishes normal from uniform.
    assert abs(np.mean(weight**4) / variance**2 - fourth_moment) < 0.2
    limit, largest = math.sqrt(3 * variance), np.abs(weight).max()
    assert (0.999 * limit < largest <= limit) == (fourth_moment == 1.8)


def test_every_initializer_is_tested():
    scaled = {type(initializer).__name__ for initializer, _, _ in SCALED}
    assert scaled | {"Orthogonal", "Constant", "Zeros"} == set(initializers.__all__) - {
        "Initializer"
    }


def test_constants():
    assert np.all(nn.Constant(0.1)((3, 2), draws()) == 0.1)
    assert np.all(nn.Zeros()((3, 2), draws()) == 0.0)


@pytest.mark.parametrize("gain", [1.0, 1.5])
@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 3), (3, 1)])
def test_orthogonal(shape, gain):
    weight = nn.Orthogonal(gain)(shape, draws())
    assert weight.shape == shape
    smaller = weight.T @ weight if shape[0] >= shape[1] else weight @ weight.T
    np.testing.assert_allclose(smaller, gain**2 * np.eye(min(shape)), atol=1e-14)


def test_orthogonal_draws_from_all_rotations_and_reflections():
    """Without the correction of the signs, every 2 x 2 matrix would be a reflection."""
    determinants = [np.linalg.det(nn.Orthogonal()((2, 2), draws(seed))) for seed in range(200)]
    reflections = sum(determinant < 0 for determinant in determinants)
    assert abs(reflections - 100) < 5 * math.sqrt(200 / 4)


def test_layers_draw_different_weights():
    network = nn.Network(nn.Dense(4), nn.Dense(4), nn.Residual(nn.Dense(4)))
    first, second, (third,) = network.init(4, draws())
    assert not np.any(first["weight"] == second["weight"])
    assert not np.any(second["weight"] == third["weight"])
    assert not np.any(first["bias"])


def chosen(*layers):
    return nn.Network(*layers).layers[0].initializer


@pytest.mark.parametrize("activation", nn.ACTIVATIONS.values(), ids=nn.ACTIVATIONS)
def test_default_suits_the_activation(activation):
    others = {nn.SELU: nn.LeCunNormal()} | dict.fromkeys(
        (nn.Identity, nn.Sigmoid, nn.Tanh, nn.Softmax), nn.GlorotUniform()
    )
    expected = others.get(activation, nn.HeNormal())
    between = (nn.BatchNorm(), nn.Dropout(0.1), nn.LayerNorm())
    assert chosen(nn.Dense(3), activation()) == expected
    assert chosen(nn.Dense(3), *between, activation()) == expected
    assert nn.Residual(nn.Dense(3), activation()).layers[0].initializer == expected


@pytest.mark.parametrize(
    "after",
    [
        (),
        (nn.Dropout(0.5),),
        (nn.Dense(2), nn.ReLU()),
        (nn.Residual(nn.Dense(3), nn.ReLU()), nn.ReLU()),
        (nn.Network(nn.Dense(2), nn.Tanh()), nn.ReLU()),
    ],
    ids=repr,
)
def test_default_of_the_last_layer_before_others_is_glorot(after):
    """Another layer's activation is not its own."""
    assert chosen(nn.Dense(3), *after) == nn.GlorotUniform()


def test_last_layer_of_a_block_is_glorot():
    network = nn.Network(
        nn.Dense(3), nn.ReLU(), nn.Residual(nn.Dense(5), nn.ReLU(), nn.Dense(3)), nn.ReLU()
    )
    block = network.layers[2]
    assert [layer.initializer for layer in block.layers if isinstance(layer, nn.Dense)] == [
        nn.HeNormal(),
        nn.GlorotUniform(),
    ]


def test_a_chosen_initializer_stays():
    assert chosen(nn.Dense(3, initializer=nn.Zeros()), nn.ReLU()) == nn.Zeros()


def test_a_dense_layer_alone_draws_glorot():
    weight = nn.Dense(20).init(30, draws())["weight"]
    np.testing.assert_array_equal(weight, nn.GlorotUniform()((30, 20), draws()))
