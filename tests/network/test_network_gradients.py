"""Every derivative against central differences, in float64."""

import inspect

import numpy as np
import pytest
from network_cases import (
    FUNCTIONS,
    LAYERS,
    LOSSES,
    WEIGHTS,
    WITH_MISSING,
    arrays,
    central_differences,
    each_layer,
    each_loss,
    each_width,
    move,
    relative_error,
)

import anyback_nn
from anyback_nn.array_api import to_numpy
from anyback_nn.network.activations import ACTIVATIONS
from anyback_nn.network.layer import Layer
from anyback_nn.network.losses import LOSSES as NAMED_LOSSES
from anyback_nn.network.losses import KnownTargets, Loss, mean_loss
from anyback_nn.tree import tree_map


def public(base):
    names = [getattr(anyback_nn, name) for name in anyback_nn.__all__]
    classes = {cls for cls in names if inspect.isclass(cls) and issubclass(cls, base)}
    return classes - {base, anyback_nn.Activation}


def test_every_public_layer_loss_and_activation_is_in_the_tables():
    assert {type(case.make(2)) for case in LAYERS} == public(Layer) >= set(ACTIVATIONS.values())
    # A loss of another one has no name of its own.
    tested = {type(case.loss) for case in (*LOSSES, *WITH_MISSING)}
    assert tested == public(Loss) == {*NAMED_LOSSES.values(), KnownTargets}
    assert {case.name for case in FUNCTIONS} == ACTIVATIONS.keys() - {"identity", "softmax"}


@each_width
@each_layer
def test_layer(case, n_out, backend, float64):
    numbers = case.draw(n_out)
    problem = numbers.to(backend, float64)
    result = problem.run()

    def dot(params, x):
        y, _ = problem.layer.forward(params, x, problem.context)
        return float(np.sum(to_numpy(y) * numbers.dy))

    def value(x):
        return dot(problem.params, backend.asarray(x))

    assert relative_error(result["dx"], central_differences(value, numbers.x)) < 1e-6
    grads, moved = arrays(result["grads"]), arrays(problem.params)
    assert grads.keys() == moved.keys()
    for name, parameter in arrays(numbers.params).items():

        def value(other, own=moved[name]):
            new = backend.asarray(other)
            return dot(tree_map(lambda x: new if x is own else x, problem.params), problem.x)

        assert relative_error(grads[name], central_differences(value, parameter)) < 1e-6, name


@pytest.mark.parametrize(
    ("weights", "n_out"),
    [
        pytest.param(WEIGHTS[name], n_out, id=f"{name}-{n_out}")
        for name, n_out in [("unweighted", 1), ("unweighted", 2), *((name, 3) for name in WEIGHTS)]
    ],
)
@each_loss
def test_loss(case, weights, n_out, backend, float64):
    outputs, *rest = (*case.draw(n_out), weights)
    rest = move(tuple(rest), backend, float64)

    def value(outputs):
        return float(to_numpy(mean_loss(case.loss, backend.asarray(outputs), *rest)[0]))

    _, d_outputs = mean_loss(case.loss, backend.asarray(outputs), *rest)
    assert relative_error(d_outputs, central_differences(value, outputs)) < 1e-6
