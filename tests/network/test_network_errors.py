"""Errors of networks whose layers do not fit, and of layers whose settings are out of range."""

import math

import pytest

from anyback_nn.errors import ShapeError
from anyback_nn.network.activations import ELU, ReLU, Tanh
from anyback_nn.network.layers import BatchNorm, Dense, Dropout, LayerNorm
from anyback_nn.network.network import Network, Residual


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            Network(Residual(Dense(4))),
            "layer 0 \\(Residual\\): .*takes 3 .* returns 4.* end it with Dense\\(3\\)",
        ),
        (Network(Dense(5), Residual(Dense(4))), "layer 1 \\(Residual\\): .*takes 5 .* returns 4"),
        (
            Network(ReLU(), Network(Dense(2), Residual(Tanh(), Dense(3)))),
            "layer 1 \\(Network\\): layer 1 \\(Residual\\): .*takes 2 .* returns 3",
        ),
    ],
)
def test_blocks_that_do_not_fit(network, message):
    for ask in (network.output_size, network.sizes, lambda n: network.init(n, None)):
        with pytest.raises(ShapeError, match=message):
            ask(3)


def test_sizes():
    network = Network(Dense(5), Tanh(), Residual(Dense(7), Dense(5)), Dense(2))
    assert network.sizes(3) == (3, 5, 5, 5, 2)


@pytest.mark.parametrize("kind", [Network, Residual])
def test_no_layers(kind):
    with pytest.raises(ShapeError, match="at least one layer"):
        kind()


@pytest.mark.parametrize("kind", [Network, Residual])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (ReLU, r"layer 1: expected a Layer .* got <class .*ReLU'>\. Write ReLU\(\.\.\.\)"),
        ("relu", "layer 1: expected a Layer .* got 'relu'$"),
        ([Dense(2)], r"layer 1: expected a Layer .* got \[Dense"),
        (None, "layer 1: expected a Layer .* got None"),
    ],
)
def test_what_is_not_a_layer(kind, wrong, message):
    with pytest.raises(TypeError, match=message):
        kind(Dense(3), wrong)


@pytest.mark.parametrize(
    ("layer", "setting", "values", "message"),
    [
        (Dense, "n_out", [0, -1], "an integer of at least 1"),
        (Dropout, "probability", [1.0, 1.5, -0.1, math.nan], "a probability from 0 to below 1"),
        # Below 0 the derivative, which depends on the sign of the output, would be wrong.
        (ELU, "alpha", [0.0, -1.0, math.nan], "alpha above 0"),
        (BatchNorm, "momentum", [1.0, -0.1, math.nan], "momentum from 0 to below 1"),
        # At 0, a constant feature would be divided by 0.
        (BatchNorm, "epsilon", [0.0, -1e-5, math.nan], "epsilon above 0"),
        (LayerNorm, "epsilon", [0.0, -1e-5, math.nan], "epsilon above 0"),
    ],
)
def test_settings_out_of_range(layer, setting, values, message):
    for value in values:
        with pytest.raises(ValueError, match=f"expected .*{message}, got {value}"):
            layer(**{setting: value})
