"""Settings of layers, losses, optimisers and schedules: the range of each, and its limits."""

from functools import partial
from math import inf, nan

import pytest

import anyback_nn as nn

LIMITS = {
    "above 0": ([0.0, -1.0, nan, inf], [1e-30, 7.0]),
    "None or above 0": ([0.0, -1.0, nan], [None, 1e-30, 7.0, inf]),
    "0 or greater": ([-1e-30, nan, inf], [0.0, 7.0]),
    "finite": ([nan, inf, -inf], [-3.0, 0.0, 7.0]),
    "from 0 to 1": ([-0.1, 1.1, nan], [0.0, 1.0]),
    "from 0 to below 1": ([-0.1, 1.0, 1.5, nan], [0.0, 0.9]),
    "above 0 and below 1": ([0.0, -1.0, 1.0, 2.0, nan], [0.9]),
}
"""Values out of each range, and in it."""

SETTINGS = [
    (partial(nn.Dropout), "probability", "from 0 to below 1"),
    # Below 0 the derivative, which depends on the sign of the output, would be wrong.
    (partial(nn.ELU), "alpha", "above 0"),
    (partial(nn.LeakyReLU), "slope", "finite"),
    (partial(nn.Constant), "value", "finite"),
    (partial(nn.BatchNorm), "momentum", "from 0 to below 1"),
    # At 0, a constant feature would be divided by 0.
    (partial(nn.BatchNorm), "epsilon", "above 0"),
    (partial(nn.LayerNorm), "epsilon", "above 0"),
    (partial(nn.Huber), "delta", "above 0"),
    (partial(nn.BinaryCrossEntropy), "label_smoothing", "from 0 to 1"),
    (partial(nn.SoftmaxCrossEntropy), "label_smoothing", "from 0 to 1"),
    (partial(nn.GradientDescent), "learning_rate", "above 0"),
    (partial(nn.GradientDescent), "l1", "0 or greater"),
    (partial(nn.GradientDescent), "l2", "0 or greater"),
    (partial(nn.GradientDescent), "clip_value", "None or above 0"),
    (partial(nn.GradientDescent), "clip_norm", "None or above 0"),
    (partial(nn.Momentum), "momentum", "from 0 to below 1"),
    (partial(nn.Nesterov), "momentum", "from 0 to below 1"),
    (partial(nn.Adagrad), "epsilon", "above 0"),
    (partial(nn.RMSProp), "smoothing", "from 0 to below 1"),
    (partial(nn.RMSProp), "epsilon", "above 0"),
    (partial(nn.Adam), "beta1", "from 0 to below 1"),
    (partial(nn.Adam), "beta2", "from 0 to below 1"),
    (partial(nn.Adam), "epsilon", "above 0"),
    (partial(nn.AdamW), "learning_rate", "above 0"),
    (partial(nn.AdamW), "weight_decay", "0 or greater"),
    (partial(nn.StepDecay, 0.1), "every", "above 0"),
    (partial(nn.StepDecay, every=1), "learning_rate", "above 0"),
    (partial(nn.StepDecay, 0.1, 1), "factor", "above 0"),
    (partial(nn.ExponentialDecay), "learning_rate", "above 0"),
    (partial(nn.ExponentialDecay, 0.1), "factor", "above 0"),
    (partial(nn.CosineDecay, epochs=3), "learning_rate", "above 0"),
    (partial(nn.ReduceOnPlateau), "learning_rate", "above 0"),
    (partial(nn.ReduceOnPlateau, 0.1), "factor", "above 0 and below 1"),
]


@pytest.mark.parametrize(("make", "setting", "expected"), SETTINGS)
def test_settings_out_of_their_range_are_refused(make, setting, expected):
    outside, inside = LIMITS[expected]
    for value in outside:
        finite = " and finite" if value == inf else ""
        message = f"^{make.func.__name__}: expected {setting} {expected}{finite}, got {value}$"
        with pytest.raises(ValueError, match=message):
            make(**{setting: value})
    for value in inside:
        assert getattr(make(**{setting: value}), setting) == value


@pytest.mark.parametrize(("make", "setting", "expected"), SETTINGS)
@pytest.mark.parametrize("value", ["0.1", [0.1]])
def test_settings_that_are_no_numbers_are_refused(make, setting, expected, value):
    message = f"^{make.func.__name__}: expected {setting} to be a number {expected}, got "
    with pytest.raises(TypeError, match=message):
        make(**{setting: value})


@pytest.mark.parametrize("kind", nn.OPTIMIZERS.values())
@pytest.mark.parametrize(
    ("rate", "hint"),
    [
        (lambda epoch: 0.01, r"class Mine\(nn\.Schedule\): def __call__\(self, epoch, history"),
        (nn.CosineDecay, r"Write CosineDecay\(\.\.\.\)"),
    ],
)
def test_functions_as_learning_rates_are_explained(kind, rate, hint):
    text = rf"{kind.__name__}: expected learning_rate to be a number or a Schedule, got .*{hint}"
    with pytest.raises(TypeError, match=text):
        kind(rate)
