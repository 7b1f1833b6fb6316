"""Properties of every layer, compiled; test_network_hypothesis.py has those of drawn shapes."""

from dataclasses import replace

import numpy as np
import pytest
from network_cases import (
    LAYERS,
    N_SAMPLES,
    TOLERANCE,
    arrays,
    assert_close,
    each_layer,
    each_loss,
    move,
    pick,
)

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.tree import tree_map

LEARNING = [case for case in LAYERS if arrays(case.draw(2).params)]
NETWORKS = [case for case in LAYERS if isinstance(case.make(2), nn.Network)]


@each_layer
def test_replicas_are_separate_runs(case, backend, finest):
    numbers = case.draw(3, replicas=(2, 2))
    problem = numbers.to(backend, finest)
    together = backend.jit(problem.step)(*problem.arguments)
    together = tree_map(lambda x: None if x is None else to_numpy(x), together)
    for replica in np.ndindex(2, 2):
        alone = numbers.map(lambda tree, replica=replica: pick(tree, replica))
        expected = alone.to(backend, finest).run()
        assert_close(pick(together, replica), expected, TOLERANCE[finest])


@pytest.mark.parametrize("case", LEARNING, ids=lambda case: case.name)
def test_replicas_share_one_input(case, backend, finest):
    """Without a replica axis, the input is every replica's: nothing needs to be repeated."""
    numbers = case.draw(3, replicas=(2,))
    once = replace(numbers, x=numbers.x[0])
    repeated = replace(numbers, x=np.stack([numbers.x[0]] * 2))
    result, expected = once.to(backend, finest).run(), repeated.to(backend, finest).run()
    for part in ("y", "dx", "grads", "state"):
        assert_close(result[part], expected[part], TOLERANCE[finest])


@each_layer
def test_one_sample(case, backend, finest):
    """It moves no running average, because the variance of one sample is not known."""
    numbers = case.draw(3, n_samples=1)
    result = numbers.to(backend, finest).run()
    assert to_numpy(result["y"]).shape == (1, 3)
    assert to_numpy(result["dx"]).shape == numbers.x.shape
    assert all(np.all(np.isfinite(to_numpy(x))) for x in arrays(result).values())
    assert_close(result["state"], numbers.context.state, TOLERANCE[finest])


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_predict_is_forward_without_training(case, backend, finest):
    problem = case.draw(3).to(backend, finest)
    layer, params, x, context, _ = vars(problem).values()
    y, _ = layer.forward(params, x, context._replace(training=False, noise=None))
    assert_close(layer.predict(params, x, context.state), y, TOLERANCE[finest])


def test_batch_norm_averages_the_mean_and_the_unbiased_variance(backend, finest):
    rng = np.random.default_rng(0)
    x, mean, variance = rng.normal(size=(5, 3)), rng.normal(size=3), rng.uniform(1, 2, 3)
    params, state = (
        {"scale": np.ones(3), "shift": np.zeros(3)},
        {"mean": mean, "variance": variance},
    )
    params, moved, own = move((params, x, state), backend, finest)
    layer = nn.BatchNorm(momentum=0.7)
    _, cache = layer.forward(params, moved, nn.Context(True, own))
    expected = {
        "mean": 0.7 * mean + 0.3 * x.mean(axis=0),
        "variance": 0.7 * variance + 0.3 * x.var(axis=0, ddof=1),
    }
    assert_close(layer.next_state(own, cache), expected, TOLERANCE[finest])


@each_loss
def test_weights_that_are_all_zero(case, backend, finest):
    outputs, targets = case.draw(3)
    numbers = move((outputs, targets, np.zeros(N_SAMPLES)), backend, finest)
    value, d_outputs = nn.mean_loss(case.loss, *numbers)
    assert float(to_numpy(value)) == 0.0
    assert not np.any(to_numpy(d_outputs))
