"""Steps in 16 bits: close to those in float32, and skipped if they overflow.

The array API standard has no dtype of 16 bits: what keeps to it, and what happens at an overflow,
is also shown with float32 inside float64.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from network_cases import EPSILON, relative_error

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.inputs.checks import COMPUTE_DTYPES
from anyback_nn.jit import dispatch
from anyback_nn.network.layout import Layout
from anyback_nn.network.precision import mix_precision
from anyback_nn.random import Random, generator
from anyback_nn.training import checkpoint, engine
from anyback_nn.training.mixed_precision import LOSS_SCALE, LossScaling
from anyback_nn.training.state import TrainingState
from anyback_nn.training.step import build_halves
from anyback_nn.tree import tree_copy, tree_leaves, tree_named_leaves

each_narrow = pytest.mark.parametrize("compute_dtype", COMPUTE_DTYPES)
half = pytest.mark.parametrize("compute_dtype", ["float16"])


class EveryBatch(nn.Callback):
    """Lets the loop take single steps."""

    def on_batch_end(self, fit):
        pass


# A step ------------------------------------------------------------------------------------------


class Problem:
    """A network with state and noise, its optimizer, and the batch of each of its steps."""

    network = nn.Network(
        nn.Dense(8, bias=False), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2), nn.Dense(3)
    )

    def __init__(self, backend, wide, optimizer=None, weight=1.0):
        self.backend, self.wide = backend, wide
        self.optimizer = optimizer or nn.GradientDescent(0.5)
        draws = Random(generator(0, "weights"), backend, wide)
        params = self.network.init(5, draws)
        self.layout = Layout.of(params, backend.packed)
        self.params = self.layout.pack(params)
        self.state = self.network.init_state(5, draws)
        rng = np.random.default_rng(0)
        self.batch = (
            backend.asarray(rng.standard_normal((16, 5)), wide),
            backend.asarray(rng.integers(0, 3, 16), "int32"),
            backend.asarray(np.full(16, weight), wide),
            self.network.noise((16, 5), draws),
        )

    def begin(self, scaling=None):
        """Return the initial parameters, optimizer state and layer state."""
        training = TrainingState(self.params, self.state).copy()
        optimizer_state = self.optimizer.init(training.params)
        if scaling:
            optimizer_state[LOSS_SCALE] = scaling.init(self.backend, self.wide)
        return training.params, optimizer_state, training.state

    def take_steps(self, narrow=None, scaling=None, n=1):
        """Return params, optimizer_state, state and report after each of some steps."""
        network = mix_precision(self.network, narrow, self.wide) if narrow else self.network
        loss = nn.SoftmaxCrossEntropy()
        parts = (network, loss, self.layout, self.optimizer, (), scaling)
        step = build_halves(*parts)
        step, carried, results = self.backend.jit(step, (0, 1, 2)), self.begin(scaling), []
        mask = self.layout.penalty_mask(carried[0])
        for number in range(1, n + 1):
            coefficients = self.optimizer.coefficients(number, self.optimizer.learning_rate)
            *carried, report = step(*carried, mask, coefficients, *self.batch)
            # The arguments of the next step are donated.
            results.append([*tree_copy(tuple(carried)), report])
        return results

    def gradient(self, narrow=None, scaling=None):
        """Return the change of the parameters in a step of gradient descent, over its rate."""
        ((params, *_),) = self.take_steps(narrow, scaling)
        return np.concatenate(
            [np.ravel(to_numpy(p) - to_numpy(q)) / 0.5 for p, q in zip(self.params, params)]
        )


def to_arrays(tree):
    return {name: to_numpy(array) for name, array in tree_named_leaves(tree).items()}


def assert_same_bits(tree, other):
    tree, other = to_arrays(tree), to_arrays(other)
    assert tree.keys() == other.keys()
    for name, array in tree.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name, strict=True)


def is_finite(tree):
    return all(np.isfinite(array).all() for array in to_arrays(tree).values())


def to_floats(scale_state):
    """Return the scale and the number of finite steps."""
    return [float(to_numpy(array)[0]) for array in scale_state]


@pytest.mark.parametrize(
    ("compute_dtype", "dtype"),
    [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float64")],
)
def test_gradients_near_those_in_the_wide_dtype(backend, compute_dtype, dtype):
    with backend.scope(dtype):
        problem = Problem(backend, dtype)
        scaling = None if compute_dtype == "bfloat16" else LossScaling()
        error = relative_error(problem.gradient(compute_dtype, scaling), problem.gradient())
    assert 0 < error < 8 * EPSILON[compute_dtype]


@half
def test_what_vanishes_in_float16_is_kept_by_the_scale(backend, compute_dtype):
    """Gradients of about 1e-8, where the smallest number above 0 is 6e-8."""
    problem = Problem(backend, "float32", weight=1e-7)
    with backend.scope("float32"):
        expected = problem.gradient()
        unscaled, scaled = (
            relative_error(problem.gradient(compute_dtype, LossScaling(scale)), expected)
            for scale in (1.0, 2.0**22)
        )
    # What the parameters, of about 1, can take up of it.
    rounding = 2.0**-24 / np.max(np.abs(expected))
    assert unscaled > 0.3
    assert scaled < 8 * EPSILON[compute_dtype] + 4 * rounding


def test_the_scale_rounds_nothing(backend, float64):
    problem = Problem(backend, float64, nn.Adam(0.1))
    small, large = (problem.take_steps("float32", LossScaling(2.0**n), 3)[-1] for n in (0, 20))
    small[1].pop(LOSS_SCALE), large[1].pop(LOSS_SCALE)
    assert_same_bits(tuple(small), tuple(large))


START = {"float16": 2.0**40, "float32": 2.0**150}
"""Scales with which gradients of about 0.01 leave the range of the dtype."""

in_float64 = pytest.mark.parametrize(("compute_dtype", "dtype"), [("float32", "float64")])
in_both = pytest.mark.parametrize(
    ("compute_dtype", "dtype"), [("float16", "float32"), ("float32", "float64")]
)


def overflow(backend, narrow, wide, optimizer, n, **bounds):
    """Take steps from that scale; return what they began with, their results, and the scales."""
    with backend.scope(wide):
        problem = Problem(backend, wide, optimizer)
        scaling = LossScaling(START[narrow], most=2 * START[narrow], **bounds)
        results = problem.take_steps(narrow, scaling, n)
        return problem.begin(), results, [to_floats(step[1].pop(LOSS_SCALE)) for step in results]


@in_both
@pytest.mark.parametrize("kind", nn.OPTIMIZERS.values(), ids=nn.OPTIMIZERS)
def test_an_overflow_is_no_step(backend, compute_dtype, dtype, kind):
    begin, results, scales = overflow(backend, compute_dtype, dtype, kind(0.1, l2=0.1), n=2)
    assert scales == [[START[compute_dtype] / 2, 0.0], [START[compute_dtype] / 4, 0.0]]
    for *carried, report in results:
        assert_same_bits(tuple(carried), begin)
        assert is_finite(report)


@in_both
def test_the_scale_is_halved_until_it_fits(backend, compute_dtype, dtype):
    # Steps so small that gradients do not grow.
    begin, results, scales = overflow(backend, compute_dtype, dtype, nn.Adam(1e-6), n=40)
    scales = [scale for scale, _ in scales]
    start = START[compute_dtype]
    skipped = sum(scale != before for before, scale in zip([start, *scales], scales))
    assert 2 < skipped < 38
    assert scales == [max(start / 2**n, scales[-1]) for n in range(1, 41)]
    first = to_arrays(begin[0])
    for number, (params, *_) in enumerate(results, start=1):
        same = all(np.array_equal(p, first[name]) for name, p in to_arrays(params).items())
        assert same == (number <= skipped)
    assert is_finite(tuple(results[-1]))


@in_float64
def test_not_finite_at_the_smallest_scale_is_not_hidden(backend, compute_dtype, dtype):
    """If no scale helps, a step that shows it is better than no step ever again."""
    least, optimizer = START[compute_dtype] / 2, nn.AdamW(0.1, weight_decay=0.1)
    _, results, scales = overflow(backend, compute_dtype, dtype, optimizer, n=2, least=least)
    assert [is_finite(params) for params, *_ in results] == [True, False]
    assert scales[1][0] == least


@pytest.mark.parametrize(
    ("scaling", "steps", "expected"),
    [
        (
            LossScaling(4.0, interval=3, most=16.0),
            [True] * 10,
            [(4, 1), (4, 2), (8, 0), (8, 1), (8, 2), (16, 0), (16, 1), (16, 2), (16, 0), (16, 1)],
        ),
        (
            LossScaling(8.0, interval=4),
            [True, True, False, True, True, True, True, True],
            [(8, 1), (8, 2), (4, 0), (4, 1), (4, 2), (4, 3), (8, 0), (8, 1)],
        ),
    ],
)
def test_the_scale_grows_after_an_interval_of_finite_steps(backend, scaling, steps, expected):
    state, states = scaling.init(backend, "float32"), []
    for finite in steps:
        state = scaling.next(state, backend.asarray(finite))
        states.append(tuple(to_floats(state)))
    assert states == expected
    assert all(array.shape == (1,) for array in state)


def test_a_network_without_parameters(backend, float64):
    problem = Problem(backend, float64)
    problem.network, problem.params, problem.state = nn.Network(nn.Tanh()), (), ({},)
    problem.layout = Layout.of(({},), backend.packed)
    ((params, optimizer_state, *_),) = problem.take_steps("float32", LossScaling())
    assert params == ()
    assert to_floats(optimizer_state[LOSS_SCALE])[1] == 1.0


def test_a_step_reads_nothing(backend, float64, no_host_reads):
    problem = Problem(backend, float64, nn.Adam(0.1, clip_norm=1.0))
    problem.take_steps("float32", LossScaling(2.0**10), 2)


# A model -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return nn.datasets.load_digits()


@pytest.fixture(scope="module")
def moons():
    return nn.datasets.make_moons(200, noise=0.1, seed=0)


def classifier(backend, compute_dtype=None, **options):
    layers = (nn.Dense(16, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.1), nn.Dense(2))
    loss = nn.SoftmaxCrossEntropy()
    return nn.Model(*layers, loss=loss, backend=backend, compute_dtype=compute_dtype, **options)


def scale_of(model):
    return to_floats(model.training.optimizer_state[LOSS_SCALE])


def begin_high(model, x, scale=2.0**24):
    """Build a model whose scale is so large that the first steps are none."""
    model.build(x.shape[1])
    model.set_optimizer(nn.Adam(0.01))
    if model.compute_dtype == "float16":
        scale_state = LossScaling(scale).init(model.backend, "float32")
        model.training.optimizer_state[LOSS_SCALE] = scale_state
    return model


@each_narrow
def test_digits_are_learned_as_well(backend, compute_dtype, digits):
    accuracies = []
    for narrow in (None, compute_dtype):
        layers = (nn.Dense(32), nn.ReLU(), nn.Dense(10))
        loss = nn.SoftmaxCrossEntropy()
        model = nn.Model(*layers, loss=loss, backend=backend, compute_dtype=narrow)
        data, rule = (digits.x_train, digits.y_train), nn.Adam(0.02)
        model.fit(*data, optimizer=rule, epochs=3, batch_size=64)
        accuracies.append(model.evaluate(digits.x_test, digits.y_test)["accuracy"])
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.02)
    assert accuracies[1] > 0.94


@each_narrow
def test_what_is_kept_is_in_float32(backend, compute_dtype, moons):
    model = classifier(backend, compute_dtype)
    model.fit(*moons, epochs=1, batch_size=100)
    training = model.training
    trees = (training.params, training.optimizer_state, training.state, model.params)
    assert all(array.dtype == backend.xp.float32 for array in tree_leaves(trees))
    assert model.predict(moons[0]).dtype == np.float32


def test_without_it_nothing_of_it_is_touched(backend, moons, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("nobody asked for it")

    for name in ("mix_precision", "LossScaling"):
        monkeypatch.setattr(engine, name, refuse)
    model = classifier(backend)
    model.fit(*moons, epochs=1)
    assert model.compute_dtype is None
    assert LOSS_SCALE not in model.training.optimizer_state


@each_narrow
def test_prediction_is_that_of_the_same_model_in_float32(backend, compute_dtype, moons):
    model = classifier(backend, compute_dtype).build(2)
    wide = classifier(backend).build(2)
    wide.training = model.training.copy()
    np.testing.assert_array_equal(model.predict(moons[0]), wide.predict(moons[0]))
    assert model.evaluate(*moons) == wide.evaluate(*moons)


@half
def test_many_steps_in_one_call(backend, compute_dtype, moons):
    """Overflows are among them. What is compiled together may be rounded elsewhere."""
    results = []
    for callbacks in ([], [EveryBatch()]):
        model = begin_high(classifier(backend, compute_dtype), moons[0])
        model.fit(*moons, epochs=3, batch_size=50, callbacks=callbacks)
        results.append(model)
    together, alone = results
    assert scale_of(together) == scale_of(alone)
    assert scale_of(alone)[0] < 2.0**24
    assert together.history.last["train_loss"] == pytest.approx(
        alone.history.last["train_loss"], rel=0.02
    )


@half
@pytest.mark.usefixtures("programs")
def test_steps_are_not_traced(backend, compute_dtype, moons, monkeypatch):
    """Their results are in new memory, so a program would not fit at the next step."""
    traced, program = [], dispatch.Program
    monkeypatch.setattr(dispatch, "Program", lambda *step: traced.append(step) or program(*step))
    classifier(backend, compute_dtype).fit(*moons, epochs=1, batch_size=10)
    assert not traced
    classifier(backend).fit(*moons, epochs=1, batch_size=10)
    assert traced


def copies_of(model, folder):
    """Yield copies of a model from a file, from pickle, and from `Model.to`."""
    model.save(folder / "model.safetensors")
    yield nn.Model.load(folder / "model.safetensors", backend=model.backend)
    yield pickle.loads(pickle.dumps(model))
    yield model.to(model.backend)


@each_narrow
def test_resumed_training_is_the_same(backend, compute_dtype, moons, tmp_path):
    whole = begin_high(classifier(backend, compute_dtype), moons[0], 2.0**18)
    whole.fit(*moons, epochs=3, batch_size=50)
    parts = begin_high(classifier(backend, compute_dtype), moons[0], 2.0**18)
    parts.fit(*moons, epochs=2, batch_size=50)
    before = parts.training.copy()
    assert compute_dtype == "bfloat16" or 0 < scale_of(parts)[1] < 8
    for copy in copies_of(parts, tmp_path):
        assert copy.compute_dtype == compute_dtype
        assert_same_bits(copy.training.optimizer_state, before.optimizer_state)
        copy.fit(*moons, epochs=1, batch_size=50)
        for part in ("params", "optimizer_state", "state"):
            assert_same_bits(getattr(copy.training, part), getattr(whole.training, part))
        assert copy.history["train_loss"] == whole.history["train_loss"]


@half
def test_another_optimizer_begins_with_a_new_scale(backend, compute_dtype, moons):
    model = begin_high(classifier(backend, compute_dtype), moons[0], 8.0)
    model.fit(*moons, epochs=1, batch_size=50)
    assert scale_of(model) == [8.0, 4.0]
    model.fit(*moons, optimizer=nn.Momentum(0.01), epochs=1, batch_size=50)
    assert scale_of(model) == [2.0**15, 4.0]


@half
def test_a_failed_epoch_leaves_the_scale(backend, compute_dtype, moons):
    class Interrupted(nn.Callback):
        def on_batch_end(self, fit):
            raise KeyboardInterrupt

    model = begin_high(classifier(backend, compute_dtype), moons[0])
    model.fit(*moons, epochs=1, batch_size=50)
    before = scale_of(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*moons, epochs=1, batch_size=10, callbacks=[Interrupted()])
    assert scale_of(model) == before


@half
def test_divergence_is_found_and_bfloat16_named(backend, compute_dtype, moons):
    x, y = moons
    options = {"loss": nn.SoftmaxCrossEntropy(), "backend": backend}
    nn.Model(nn.Dense(2), **options).fit(1e5 * x, y, epochs=1)
    model = nn.Model(nn.Dense(2), **options, compute_dtype=compute_dtype)
    with pytest.raises(nn.DivergenceError, match="float16 ends at 65504.*bfloat16"):
        model.fit(1e5 * x, y, epochs=1)


# What cannot be ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["float32", "float64", "half", 16])
def test_other_dtypes_are_refused(backend, wrong):
    with pytest.raises(ValueError, match="None or one of float16, bfloat16, got"):
        classifier(backend, wrong)


@half
def test_parameters_in_float64_are_refused(backend, compute_dtype, float64):
    with pytest.raises(ValueError, match="for parameters in float32, got dtype='float64'"):
        classifier(backend, compute_dtype, dtype=float64)


NARROW = {
    "numpy": ["float16"],
    "cupy": ["float16"],
    "torch": ["float16", "bfloat16"],
    "jax": ["float16", "bfloat16"],
    "dpnp": [],
    "dask": [],
    "array-api-strict": [],
}


def test_what_a_backend_does_not_have_is_refused(backend):
    supported = NARROW[backend.name]
    assert [dtype for dtype in COMPUTE_DTYPES if backend.supports(dtype)] == supported
    for missing in set(COMPUTE_DTYPES) - set(supported):
        with pytest.raises(ValueError, match=f"has no {missing}: use compute_dtype=") as refused:
            classifier(backend, missing)
        others = [name for name, dtypes in NARROW.items() if missing in dtypes]
        assert str(refused.value).endswith(f"has it ({', '.join(others)})")
        assert f"compute_dtype={(supported or [None])[0]!r}" in str(refused.value)


@each_narrow
def test_a_model_comes_to_a_backend_without_it(backend, compute_dtype, moons, tmp_path):
    model = begin_high(classifier(backend, compute_dtype), moons[0])
    model.save(tmp_path / "model.safetensors")
    text = f"float32 from now on, because: backend 'array-api-strict' has no {compute_dtype}"
    for move in (
        lambda: model.to("array-api-strict"),
        lambda: nn.Model.load(tmp_path / "model.safetensors", backend="array-api-strict"),
    ):
        with pytest.warns(UserWarning, match=text):
            moved = move()
        assert moved.compute_dtype is None
        np.testing.assert_allclose(moved.predict(moons[0]), model.predict(moons[0]), atol=1e-5)
        moved.fit(*moons, epochs=1, batch_size=100)
        assert LOSS_SCALE not in moved.training.optimizer_state


def test_files_from_before_have_none(backend, tmp_path):
    model = classifier(backend).build(2)
    arrays, settings = checkpoint.collect_contents(model)
    del settings["compute_dtype"]
    checkpoint.write(tmp_path / "model.safetensors", arrays, settings)
    assert nn.Model.load(tmp_path / "model.safetensors", backend=backend).compute_dtype is None
    state = model.__getstate__()
    del state["compute_dtype"]
    old = nn.Model.__new__(nn.Model)
    old.__setstate__(state)
    assert old.compute_dtype is None
