"""Derivatives are those that layers compute: they agree with differences of the values."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.plotting import ActivationsDisplay

Z = np.linspace(-3.9, 3.9, 79)  # without the kinks at 0
Z = Z[np.abs(Z) > 1e-3]
STEP = 1e-6


@pytest.mark.parametrize("name", nn.ACTIVATIONS)
def test_derivatives_are_differences_of_values(name):
    z = np.concatenate([Z, Z - STEP, Z + STEP])
    display = ActivationsDisplay.from_activations(name, z=z)
    _, low, high = np.split(display.values[name], 3)
    derivatives = display.derivatives[name][: len(Z)]
    np.testing.assert_allclose(derivatives, (high - low) / (2 * STEP), rtol=1e-5, atol=1e-8)


def test_the_lines_are_values_and_derivatives():
    display = ActivationsDisplay.from_activations()
    assert list(display.values) == list(nn.ACTIVATIONS)
    for panel, name in zip(display.axes_, nn.ACTIVATIONS, strict=True):
        values, derivatives = panel.lines[-2:]
        np.testing.assert_array_equal(values.get_ydata(), display.values[name])
        np.testing.assert_array_equal(derivatives.get_ydata(), display.derivatives[name])
        assert name.replace("_", " ") in panel.get_title()


def test_softmax_of_two_inputs_is_a_sigmoid():
    display = ActivationsDisplay.from_activations(["softmax", "sigmoid"])
    np.testing.assert_allclose(display.values["softmax"], display.values["sigmoid"])
    np.testing.assert_allclose(display.derivatives["softmax"], display.derivatives["sigmoid"])


def test_layers_have_names_of_ones_own():
    layers = {"steep": nn.LeakyReLU(0.5)}
    display = ActivationsDisplay.from_activations(layers, z=[-2.0, 2.0])
    assert display.derivatives["steep"].tolist() == [0.5, 1.0]


def test_unknown_activations_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'relu'"):
        ActivationsDisplay.from_activations(["rely"])
