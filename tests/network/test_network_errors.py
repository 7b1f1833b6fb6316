"""Errors of networks whose layers do not fit; utils/test_arguments.py has those of settings."""

import pytest

from anyback_nn.errors import ShapeError
from anyback_nn.network.activations import ReLU, Tanh
from anyback_nn.network.initializers import HeNormal
from anyback_nn.network.layers import Dense
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
    ("wrong", "message"),
    [(HeNormal, r"\. Write HeNormal\(\)$"), ("he_normal", "got 'he_normal'$")],
)
def test_what_is_not_an_initializer(wrong, message):
    with pytest.raises(TypeError, match=f"expected initializer to be an Initializer, .*{message}"):
        Dense(4, initializer=wrong)


@pytest.mark.parametrize("n_out", [0, -1, 2.0])
def test_units_that_cannot_be_counted(n_out):
    with pytest.raises(ValueError, match=f"n_out to be an integer of at least 1, got {n_out}"):
        Dense(n_out)
