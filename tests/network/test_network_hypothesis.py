"""Properties of every layer and every loss, for shapes and numbers that Hypothesis draws."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from array_api_compat import array_namespace, device
from drawn_examples import for_all, strategies
from hypothesis import strategies as st
from network_cases import LAYERS, TOLERANCE, arrays, each_layer, each_loss, move, pick

from anyback_nn.array_api import to_numpy
from anyback_nn.backends import select
from anyback_nn.network.activations import Activation, log_sum_exp
from anyback_nn.network.losses import mean_loss
from anyback_nn.tree import tree_map

# What is drawn -----------------------------------------------------------------------------------

REPLICAS = [(2,), (3, 2)]
# JAX compiles every operation for every new shape: here, layers, halves and replicas share them.
FEW_SHAPES = [((), 4, 4), ((), 0, 4), ((2, 1), 2, 4)]
QUARTERS = st.sampled_from([n / 4 for n in range(-32, 33)])
"""Numbers whose sums are exact in any order."""
WIDER = {"float32": np.float64, "float64": np.longdouble}
"""The dtype of NumPy for comparison; some machines have nothing wider than float64."""
VIEWS = {
    "transposed": lambda xp, x: xp.matrix_transpose(
        xp.reshape(x, (*x.shape[:-2], x.shape[-1], x.shape[-2]))
    ),
    "every second": lambda xp, x: xp.concat([x, x], axis=-1)[..., ::2],
    "backwards": lambda xp, x: xp.flip(x, axis=-2),
    "one for all": lambda xp, x: xp.broadcast_to(x[..., :1, :], x.shape),
}
"""Arrays of the same shape that are not contiguous, if the library has such arrays."""

ACTIVATIONS = [case for case in LAYERS if isinstance(case.make(2), Activation)]
SAMPLE_BY_SAMPLE = [
    case for case in LAYERS if not (case.training and arrays(case.draw(2).context.state))
]


def shapes(backend, least=0, replicas=((), *REPLICAS)):
    """Draw the replicas, the number of samples and the number of outputs."""
    if backend.name == "jax":
        few = [shape for shape in FEW_SHAPES if shape[1] >= least]
        return st.sampled_from([shape for shape in few if bool(shape[0]) != (() in replicas)])
    return st.tuples(st.sampled_from(replicas), st.integers(least, 6), st.integers(1, 3))


def arrays_of(backend, dtype, shape, elements):
    """Draw arrays of the backend's library, on its device."""
    return strategies(backend).arrays(dtype, shape, elements=elements).map(backend.asarray)


def quarters(shape):
    """Draw NumPy arrays whose sums are exact."""
    return arrays_of(select("numpy"), "float64", shape, QUARTERS)


def moderate(backend, dtype, shape):
    """Draw arrays of numbers up to 50, and down to the smallest ones."""
    return arrays_of(backend, dtype, shape, {"min_value": -50.0, "max_value": 50.0})


def edges(dtype):
    """Return an array of all pairs of numbers at the limits of a dtype."""
    info = np.finfo(dtype)
    power = np.log(info.max)
    sizes = [0, info.smallest_subnormal, info.tiny, info.eps, 1, power - 1, 2 * power, info.max / 2]
    numbers = np.asarray([*sizes, info.max], dtype)
    return np.stack(np.meshgrid(*[[*numbers, *-numbers]] * 2), axis=-1).reshape(-1, 2)


def anything(backend, dtype):
    """Draw pairs of finite numbers; those at the edges are always among them."""
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=np.finfo(dtype).bits)
    always = backend.asarray(edges(dtype))
    drawn = arrays_of(backend, dtype, (4, 2), numbers)
    return drawn.map(lambda pairs: backend.xp.concat([pairs, always]))


@st.composite
def problems(draw, case, shapes):
    """Draw what a layer is called with, as NumPy arrays."""
    replicas, n_samples, n_out = draw(shapes)
    problem = case.draw(n_out, n_samples, replicas)
    return replace(problem, x=draw(quarters(problem.x.shape)))


@st.composite
def losses(draw, case, shapes):
    """Draw outputs, targets and weights, as NumPy arrays."""
    replicas, n_samples, n_out = draw(shapes)
    outputs, targets = case.draw(n_out, n_samples, replicas)
    # All of them differ, one is 0, and their sums are exact.
    weights = np.asarray(draw(st.permutations([1.0, 0.0, 2.0, 0.5, 1.5, 2.5][:n_samples])))
    return draw(quarters(outputs.shape)), targets, weights


# How it is computed ------------------------------------------------------------------------------


def all_of(loss, outputs, targets, weights=None):
    """Compute all results of a loss."""
    values, cache = loss.forward(outputs, targets)
    ones = array_namespace(values).ones_like(values)
    result = {"values": values, "d_values": loss.backward(cache, ones)}
    if values.shape[-1]:  # the mean over no sample is not defined
        result["mean"], result["d_mean"] = mean_loss(loss, outputs, targets, weights)
    return result | {"link": loss.link(outputs)}


def run(problem, backend, dtype):
    """Go forward and backward with NumPy arrays, brought to the backend."""
    result = problem.to(backend, dtype).run()
    return {part: tree_map(to_numpy, result[part]) for part in ("y", "dx", "grads", "state")}


def mean(loss, numbers, backend, dtype):
    """Return the mean loss of NumPy arrays on the backend, and its gradient."""
    return tree_map(to_numpy, mean_loss(loss, *move(numbers, backend, dtype)))


def samples_of(problem, rows):
    """Choose samples of what a layer is called with."""
    index = (..., rows, slice(None))
    context = problem.context._replace(noise=pick(problem.context.noise, index))
    return replace(problem, x=problem.x[index], dy=problem.dy[index], context=context)


def outputs_of(numbers, rows):
    """Choose samples of outputs, targets and weights."""
    outputs, targets, weights = numbers
    return outputs[..., rows, :], targets[rows], weights[rows]


def assert_same(actual, expected, dtype):
    """Assert that two trees hold the same numbers but for rounding."""
    actual, expected = arrays(actual), arrays(expected)
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        target = to_numpy(expected[name])
        tolerance = 100 * TOLERANCE[dtype] * np.max(np.abs(target), initial=1.0)
        np.testing.assert_allclose(to_numpy(array), target, rtol=0, atol=tolerance, err_msg=name)


def check(array, shape, dtype, backend):
    """Check shape, dtype and device, and that all numbers are finite."""
    assert tuple(array.shape) == tuple(shape)
    assert array.dtype == getattr(backend.xp, dtype)
    assert device(array) == backend.device
    assert np.all(np.isfinite(to_numpy(array)))


# Shapes ------------------------------------------------------------------------------------------


@each_layer
def test_layers_keep_shape_dtype_and_device(case, backend, dtype):
    # Statistics of no sample are not defined.
    least = 0 if case in SAMPLE_BY_SAMPLE else 1

    @for_all(backend, st.data(), shapes(backend, least))
    def holds(data, shape):
        replicas, n_samples, n_out = shape
        host = case.draw(n_out, n_samples, replicas)
        x = data.draw(moderate(backend, dtype, host.x.shape))
        problem = replace(host.to(backend, dtype), x=x)
        result = problem.run()
        assert problem.layer.output_size(host.x.shape[-1]) == n_out
        check(result["y"], (*replicas, n_samples, n_out), dtype, backend)
        check(result["dx"], host.x.shape, dtype, backend)
        for part, before in (("grads", host.params), ("state", host.context.state)):
            before, after = arrays(before), arrays(result[part])
            assert after.keys() == before.keys()
            for name, array in after.items():
                check(array, before[name].shape, dtype, backend)
        if not n_samples:
            assert not any(np.any(to_numpy(array)) for array in arrays(result["grads"]).values())


@each_loss
def test_losses_keep_shape_dtype_and_device(case, backend, dtype):
    @for_all(backend, st.data(), shapes(backend))
    def holds(data, shape):
        replicas, n_samples, n_out = shape
        _, targets = case.draw(n_out, max(n_samples, 1))
        rest = move((targets[:n_samples], np.ones(n_samples)), backend, dtype)
        outputs = data.draw(moderate(backend, dtype, (*replicas, n_samples, n_out)))
        shapes = {"values": (*replicas, n_samples), "mean": replicas}
        for name, array in all_of(case.loss, outputs, *rest).items():
            check(array, shapes.get(name, outputs.shape), dtype, backend)


@pytest.mark.skip_backends("dpnp", reason="its products of broadcast views are wrong (0.20)")
@each_layer
def test_layers_do_not_depend_on_strides(case, backend, finest):
    @for_all(backend, problems(case, shapes(backend, 2)), st.sampled_from(sorted(VIEWS)))
    def holds(host, kind):
        view = functools.partial(VIEWS[kind], backend.xp)
        problem = host.to(backend, finest)
        views = replace(problem, x=view(problem.x), dy=view(problem.dy))
        x, dy = (backend.asarray(np.array(to_numpy(view))) for view in (views.x, views.dy))
        result, expected = views.run(), replace(problem, x=x, dy=dy).run()
        for part in ("y", "dx", "grads", "state"):
            assert_same(result[part], expected[part], finest)


@each_loss
def test_losses_do_not_depend_on_strides(case, backend, finest):
    @for_all(backend, losses(case, shapes(backend, 2)), st.sampled_from(sorted(VIEWS)))
    def holds(host, kind):
        outputs, targets, weights = move(host, backend, finest)
        outputs = VIEWS[kind](backend.xp, outputs)
        if targets.ndim == 2:  # rows of probabilities must stay rows
            targets = backend.xp.flip(targets, axis=0)
        views = (outputs, targets, weights)
        whole = tree_map(lambda x: backend.asarray(np.array(to_numpy(x))), views)
        assert_same(all_of(case.loss, *views), all_of(case.loss, *whole), finest)


# Samples and replicas ----------------------------------------------------------------------------


@each_layer
def test_layers_permute_with_their_samples(case, backend, finest):
    @for_all(backend, st.data(), problems(case, shapes(backend, 2)))
    def holds(data, problem):
        order = data.draw(st.permutations(range(problem.x.shape[-2])))
        expected = run(problem, backend, finest)
        for part in ("y", "dx"):
            expected[part] = expected[part][..., order, :]
        assert_same(run(samples_of(problem, order), backend, finest), expected, finest)


@each_loss
def test_replicas_of_losses_are_separate_runs(case, backend, finest):
    @for_all(backend, losses(case, shapes(backend, 1, REPLICAS)))
    def holds(numbers):
        outputs, targets, drawn = numbers
        for weights in (drawn, None):
            together = mean(case.loss, (outputs, targets, weights), backend, finest)
            for replica in np.ndindex(outputs.shape[:-2]):
                alone = mean(case.loss, (outputs[replica], targets, weights), backend, finest)
                assert_same(pick(together, replica), alone, finest)


def cut(backend, n_samples):
    """Draw where samples are cut in two."""
    return st.just(n_samples // 2) if backend.name == "jax" else st.integers(1, n_samples - 1)


@pytest.mark.parametrize("case", SAMPLE_BY_SAMPLE, ids=lambda case: case.name)
def test_gradients_of_layers_are_sums_over_parts_of_a_batch(case, backend, finest):
    @for_all(backend, st.data(), problems(case, shapes(backend, 2)))
    def holds(data, problem):
        at = data.draw(cut(backend, problem.x.shape[-2]))
        first, second = (
            run(samples_of(problem, rows), backend, finest)
            for rows in (slice(None, at), slice(at, None))
        )
        result = {
            part: np.concatenate([first[part], second[part]], axis=-2) for part in ("y", "dx")
        }
        grads = [arrays(part["grads"]) for part in (first, second)]
        result["grads"] = {name: grads[0][name] + grads[1][name] for name in grads[0]}
        expected = run(problem, backend, finest)
        result["state"], expected["grads"] = expected["state"], arrays(expected["grads"])
        assert_same(result, expected, finest)


@each_loss
def test_losses_are_means_over_parts_of_a_batch(case, backend, finest):
    """Weighted by the sizes of the parts."""

    @for_all(backend, st.data(), losses(case, shapes(backend, 2)))
    def holds(data, numbers):
        n = len(numbers[1])
        at = data.draw(cut(backend, n))
        first, second = (
            mean(case.loss, outputs_of(numbers, rows), backend, finest)
            for rows in (slice(None, at), slice(at, None))
        )
        share = at / n
        value = share * first[0] + (1 - share) * second[0]
        d_outputs = np.concatenate([share * first[1], (1 - share) * second[1]], axis=-2)
        assert_same((value, d_outputs), mean(case.loss, numbers, backend, finest), finest)


@each_loss
def test_weights_are_how_often_a_sample_counts(case, backend, finest):
    counts = st.permutations([1, 2, 0, 1])

    @for_all(backend, losses(case, st.just(((), 4, 4))), counts)
    def holds(numbers, counts):
        weighted = (*numbers[:2], np.asarray(counts, dtype=float))
        rows = np.repeat(np.arange(4), counts)
        repeated = (numbers[0][rows], numbers[1][rows], np.ones(4))
        value, d_outputs = mean(case.loss, weighted, backend, finest)
        expected, d_rows = mean(case.loss, repeated, backend, finest)
        d_expected = np.zeros_like(d_outputs)
        np.add.at(d_expected, rows, d_rows)
        assert_same((value, d_outputs), (expected, d_expected), finest)


# Any number --------------------------------------------------------------------------------------


def fits(pairs, actual, exact, dtype):
    """Return where the dtype can hold the exact number; assert that the result is finite there."""
    has_room = np.abs(exact) < np.finfo(dtype).max
    rows = np.nonzero(has_room & ~np.isfinite(actual))[0]
    assert not rows.size, (pairs[rows], actual[rows], exact[rows])
    return has_room


@pytest.mark.parametrize("case", ACTIVATIONS, ids=lambda case: case.name)
def test_activations_of_any_number(case, backend, dtype):
    """They are, but for rounding, what they are in the next wider dtype."""
    layer, tiny = case.make(2), np.finfo(dtype).tiny

    def step(x):
        y, cache = layer.forward({}, x)
        return y, layer.backward({}, cache, array_namespace(x).ones_like(x))[0]

    @for_all(backend, anything(backend, dtype))
    def holds(x):
        with np.errstate(all="ignore"):  # as in a model
            result, x = step(x), to_numpy(x)
            # Some libraries round the smallest numbers to 0; others see the kink next to it.
            choices = x, np.where(np.abs(x) < tiny, 0, x)
            exact = zip(*(step(choice.astype(WIDER[dtype])) for choice in choices))
        for actual, expected in zip(map(to_numpy, result), exact):
            where = fits(x, actual, expected[0], dtype)
            error = np.min(np.abs(actual - np.stack(expected)), axis=0)[where]
            assert np.all(error <= 10 * TOLERANCE[dtype] * (1 + np.abs(actual[where])))


@each_loss
def test_losses_of_any_number(case, backend, dtype):
    """They are finite where the exact loss is, and not negative."""

    @for_all(backend, anything(backend, dtype))
    def holds(pairs):
        # What is rounded and added up needs room.
        largest = np.finfo(dtype).max / 2
        pairs = np.clip(to_numpy(pairs), -largest, largest)
        outputs, targets = pairs[:, :1], np.abs(pairs[:, 1:])
        if case.loss.classifies:
            outputs, targets = pairs, case.draw(2, len(pairs))[1]
        numbers = (outputs, targets)
        wide = [x.astype(WIDER[dtype]) if x.dtype.kind == "f" else x for x in numbers]
        with np.errstate(all="ignore"):  # as in a model
            result = all_of(case.loss, *move(numbers, backend, dtype))
            exact = all_of(case.loss, *wide)
        result = tree_map(to_numpy, result)
        where = fits(pairs, result["values"], exact["values"], dtype)
        fits(pairs, result["d_values"], exact["d_values"], dtype)
        assert not np.any(np.isnan(result["link"]))
        sizes = [1 + np.nanmax(np.abs(x).reshape(len(pairs), -1), axis=1) for x in wide]
        rounding = TOLERANCE[dtype] * sizes[0] * sizes[1]
        assert np.all(result["values"][where] >= -rounding[where])


def test_log_sum_exp_is_just_above_the_largest(backend, dtype):
    @for_all(backend, anything(backend, dtype))
    def holds(z):
        with np.errstate(over="ignore"):  # as in a model
            result = to_numpy(log_sum_exp(z))
        largest = np.max(to_numpy(z), axis=-1, keepdims=True)
        assert np.all(result >= largest - np.finfo(dtype).tiny)
        np.testing.assert_allclose(result, largest, rtol=TOLERANCE[dtype], atol=1.0)
