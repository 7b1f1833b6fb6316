"""Models: fitting, resuming, predicting, moving and saving, on the backend under test."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
from custom_losses import TimesSquared

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.backends import base
from anyback_nn.inputs.batches import split
from anyback_nn.testing import assert_close
from anyback_nn.training import metrics
from anyback_nn.tree import tree_leaves, tree_map


@pytest.fixture(scope="module")
def moons():
    x, y = nn.datasets.make_moons(240, noise=0.1, seed=0)
    x.flags.writeable = y.flags.writeable = False  # nothing writes into data
    return x, y


def classifier(backend, *layers, dtype="float32", **options):
    layers = layers or (nn.Dense(16), nn.Tanh())
    loss = nn.SoftmaxCrossEntropy()
    return nn.Model(*layers, nn.Dense(2), loss=loss, backend=backend, dtype=dtype, **options)


def network(backend, *layers, loss=None):
    layers = layers or (nn.Dense(1),)
    return nn.Model(*layers, loss=loss or nn.MeanSquaredError(), backend=backend)


def everything(backend, dtype="float32", **options):
    """Return a model with state, noise and a block, so that nothing is left out."""
    # A bias before a batch norm has no gradient but rounding errors, which Adam blows up.
    first = nn.Dense(16, bias=False)
    block = nn.Residual(nn.Dense(8), nn.LayerNorm(), nn.GELU(), nn.Dense(16))
    return classifier(
        backend, first, nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), block, dtype=dtype, **options
    )


def fit(model, *data, **options):
    """Train a model; return it."""
    model.fit(*data, **options)
    return model


def weights(model):
    """Return all parameters as one flat NumPy vector."""
    return np.concatenate([to_numpy(array).ravel() for array in tree_leaves(model.params)])


def assert_same_weights(model, reference):
    np.testing.assert_array_equal(weights(model), weights(reference))


@pytest.fixture
def memory_map(tmp_path):
    """A function that brings an array into a memory-mapped file."""

    def memory_map(x):
        np.save(tmp_path / "x.npy", x)
        return np.load(tmp_path / "x.npy", mmap_mode="r")

    return memory_map


# Learning ----------------------------------------------------------------------------------------


def test_it_learns_what_a_linear_model_cannot(backend, moons):
    x, y = moons
    options = {"optimizer": nn.Adam(0.1), "epochs": 20, "batch_size": 60}
    linear = network(backend, nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    assert fit(classifier(backend), x, y, **options).evaluate(x, y)["accuracy"] > 0.97
    assert fit(linear, x, y, **options).evaluate(x, y)["accuracy"] < 0.93


def test_linear_regression_finds_the_least_squares_solution(backend):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.7 + 0.1 * rng.standard_normal(60)
    model = network(backend)
    model.fit(x, y, optimizer=nn.GradientDescent(0.2), epochs=200, batch_size=None)
    exact, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(60)]), y, rcond=None)
    np.testing.assert_allclose(weights(model), exact, atol=1e-4)


def test_full_batch_training_is_gradient_descent_by_hand(backend):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 2)), rng.standard_normal((20, 1))
    model = network(backend, nn.Dense(1, bias=False))
    w = to_numpy(model.build(2).params[0]["weight"]).astype(float)
    model.fit(x, y, optimizer=nn.GradientDescent(0.1, l2=0.5), epochs=3, batch_size=None)
    for _ in range(3):
        w = w - 0.1 * (2 / 20 * x.T @ (x @ w - y) + 0.5 * w)
    np.testing.assert_allclose(weights(model), w.ravel(), rtol=1e-5)


@pytest.mark.parametrize("batch_size", [7, 60])
def test_l2_means_the_same_for_every_batch_size(backend, batch_size):
    # Without a gradient of the loss only the penalty acts: w shrinks by (1 - rate l2) each step.
    x = np.zeros((60, 2))
    model = network(backend)
    before = weights(model.build(2))[:2]
    optimizer = nn.GradientDescent(0.1, l2=0.5)
    model.fit(x, np.zeros(60), optimizer=optimizer, epochs=2, batch_size=batch_size)
    steps = 2 * -(-60 // batch_size)
    np.testing.assert_allclose(weights(model)[:2], before * (1 - 0.05) ** steps, rtol=1e-5)


def test_samples_of_weight_zero_do_not_count(backend, moons):
    x, y = moons[0][:60], moons[1][:60]
    wrong = y.copy()
    wrong[40:] = 1 - wrong[40:]
    options = {"optimizer": nn.GradientDescent(0.5), "epochs": 20, "batch_size": None}
    few = fit(classifier(backend), x[:40], y[:40], **options)
    w = np.repeat([1.0, 0.0], [40, 20])
    weighted = fit(classifier(backend), x, wrong, sample_weight=w, **options)
    np.testing.assert_allclose(weights(weighted), weights(few), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_weights_pull_as_hard_in_small_batches_as_in_large_ones(backend, batch_size):
    # A constant that is fitted to 0s and 1s, of which the 1s weigh three times as much, is 3/4.
    y = np.tile([0.0, 1.0], 4)
    model = network(backend)
    rate = nn.ExponentialDecay(0.3, factor=0.85)
    options = {"optimizer": nn.GradientDescent(rate), "epochs": 20, "batch_size": batch_size}
    model.fit(np.zeros((8, 1)), y, sample_weight=50.0 + 100.0 * y, **options)
    assert float(model.predict([[0.0]])[0, 0]) == pytest.approx(0.75, abs=0.03)


def test_class_weights_are_sample_weights(backend, moons):
    x, y = moons
    options = {"optimizer": nn.Adam(0.01), "epochs": 3}
    by_class = fit(classifier(backend), x, y, class_weight={1: 3.0}, **options)
    by_sample = fit(classifier(backend), x, y, sample_weight=1.0 + 2.0 * y, **options)
    assert_same_weights(by_class, by_sample)


# The same run everywhere -------------------------------------------------------------------------


def train(backend, moons, dtype, epochs=4):
    optimizer = nn.Adam(0.01, clip_norm=1.0, l2=1e-3)
    model = everything(backend, dtype)
    return fit(model, *moons, optimizer=optimizer, epochs=epochs, batch_size=50)


def test_every_backend_trains_as_numpy_does(backend, moons, float64):
    # With the same initial weights, order and masks, only rounding is left.
    model, reference = train(backend, moons, float64), train("numpy", moons, float64)
    np.testing.assert_allclose(weights(model), weights(reference), rtol=1e-8, atol=1e-10)
    losses, expected = model.history["train_loss"], reference.history["train_loss"]
    np.testing.assert_allclose(losses, expected, rtol=1e-10)


def test_another_seed_gives_another_run(backend):
    first, second = (classifier(backend, seed=seed) for seed in (0, 1))
    assert np.all(weights(first.build(2))[:32] != weights(second.build(2))[:32])


def test_everything_keeps_its_dtype_and_device(backend, moons, dtype):
    from array_api_compat import device

    model = train(backend, moons, dtype, epochs=2)
    training = model.training
    trees = (training.params, training.optimizer_state, training.state)
    for array in tree_leaves(trees):
        assert array.dtype == getattr(backend.xp, dtype)
        assert device(array) == backend.device
    outputs = model.predict(backend.asarray(moons[0]))
    assert outputs.dtype == getattr(backend.xp, dtype)
    assert device(outputs) == backend.device


def test_fitting_twice_is_fitting_longer(backend, moons):
    optimizer = nn.Momentum(nn.CosineDecay(0.1, epochs=6, warmup=1))
    whole = fit(everything(backend), *moons, optimizer=optimizer, epochs=6)
    parts = everything(backend)
    for epochs in (2, 4):
        parts.fit(*moons, optimizer=nn.Momentum(nn.CosineDecay(0.1, 6, 1)), epochs=epochs)
    assert_same_weights(parts, whole)
    assert parts.history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert parts.history["learning_rate"] == whole.history["learning_rate"]


# Data in and out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (nn.MeanSquaredError(), lambda y: y.astype(float)),
        (nn.SoftmaxCrossEntropy(), lambda y: y[:, None]),
        (nn.SoftmaxCrossEntropy(), lambda y: y.astype(np.float32)),
        (nn.SoftmaxCrossEntropy(), lambda y: np.eye(2)[y]),
        (nn.BinaryCrossEntropy(), lambda y: y.astype(bool)),
    ],
)
def test_iterables_bring_targets_to_shape_in_every_epoch(backend, moons, loss, targets):
    x, y = moons[0][:64], targets(moons[1][:64])
    n_out = 2 if isinstance(loss, nn.SoftmaxCrossEntropy) else 1
    batches = [(x[:32], y[:32]), (x[32:], y[32:])]
    model, reference = (network(backend, nn.Dense(n_out), loss=loss) for _ in range(2))
    model.fit(batches, epochs=3)
    reference.fit(x, y, epochs=3, batch_size=32, shuffle=False)
    assert_same_weights(model, reference)


@pytest.mark.parametrize("kind", ["own", "list", "memmap", "integers", "iterable", "generator"])
def test_every_form_of_data_trains_alike(backend, moons, kind, memory_map):
    x, y = np.round(moons[0] * 8), moons[1]
    batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, len(x), 32)]
    data = {
        "own": (backend.asarray(x), backend.asarray(y)),
        "list": (x.tolist(), y.tolist()),
        "memmap": (memory_map(x), y),
        "integers": (x.astype(np.int8), y.astype(np.uint8)),
        "iterable": (batches,),
        "generator": (iter(batches),),
    }[kind]
    options = {"epochs": 1, "batch_size": 32, "shuffle": False}
    model = fit(classifier(backend), *data, **options)
    reference = fit(classifier(backend), x, y, **options)
    assert_same_weights(model, reference)
    assert model.history["train_loss"] == reference.history["train_loss"]
    assert backend.owns(model.predict(backend.asarray(x)))
    assert isinstance(model.predict(x), np.ndarray)


class Unsized:
    """Can be iterated again, but has no length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        raise TypeError("no length")


def test_without_a_length_the_schedule_takes_the_middle_of_the_epoch(backend, moons):
    rate = nn.CosineDecay(0.1, epochs=4, warmup=1)
    whole = fit(classifier(backend), Unsized([moons]), optimizer=nn.Momentum(rate), epochs=4)
    parts = classifier(backend)
    for epochs in (1, 3):
        parts.fit(Unsized([moons]), optimizer=nn.Momentum(rate), epochs=epochs)
    assert whole.history["learning_rate"] == [rate(epoch + 0.5) for epoch in range(4)]
    assert_same_weights(parts, whole)


def test_batches_with_and_without_weights_are_evaluated_together(backend, moons):
    x, y = moons
    w = np.linspace(0.5, 1.5, 100)
    model = classifier(backend).build(2)
    both = [(x[:100], y[:100], w), (x[100:], y[100:])]
    expected = model.evaluate(x, y, sample_weight=np.concatenate([w, np.ones(len(y) - 100)]))
    assert model.evaluate(both) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(both[::-1]) == pytest.approx(expected, rel=1e-5)


def test_a_generator_lasts_for_one_epoch_only(backend, moons):
    x, y = moons
    with pytest.raises(nn.DataError, match="iterated over only once"):
        classifier(backend).fit(iter([(x, y)]), epochs=2)


@pytest.mark.parametrize(
    ("batch", "error", "text"),
    [
        (np.ones((4, 2)), nn.DataError, "the first batch is ndarray"),
        ((np.ones((4, 2)), np.ones(3, int)), nn.ShapeError, "batch 0: .*4 rows.*targets have 3"),
        ((np.ones((4, 2)), np.full(4, 5)), nn.DataError, "batch 0: .*indices from 0 to 1"),
    ],
)
def test_bad_batches_are_named(backend, batch, error, text):
    with pytest.raises(error, match=text):
        classifier(backend).fit([batch], epochs=1)


def test_evaluation_is_that_of_scikit_learn(backend, moons):
    from sklearn.metrics import accuracy_score, log_loss

    x, y = moons
    model = fit(classifier(backend), x, y, epochs=2)
    w = np.random.default_rng(0).uniform(size=len(y))
    report = model.evaluate(x, y, sample_weight=w, batch_size=7)
    p = model.predict(x).astype(float)
    p /= p.sum(axis=1, keepdims=True)
    assert report["loss"] == pytest.approx(log_loss(y, p, sample_weight=w), rel=1e-5)
    classes = model.predict_classes(x)
    assert report["accuracy"] == pytest.approx(accuracy_score(y, classes, sample_weight=w))


def test_regression_scores_are_those_of_scikit_learn(backend):
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((50, 3)), rng.uniform(size=50)
    y = x @ rng.standard_normal((3, 2)) + 3.0
    model = fit(network(backend, nn.Dense(2)), x, y, epochs=10, optimizer=nn.Adam(0.1))
    report, p = model.evaluate(x, y, sample_weight=w), model.predict(x)
    expected = {
        "loss": mean_squared_error(y, p, sample_weight=w),
        "absolute_error": mean_absolute_error(y, p, sample_weight=w),
        "r2": r2_score(y, p, sample_weight=w),
    }
    assert report == pytest.approx(expected, rel=1e-5)


def test_binary_cross_entropy_classifies_one_and_several_labels(backend, moons):
    x, y = moons
    both = np.column_stack([y, 1 - y])
    for targets, n_out, shape in ((y, 1, (240,)), (both, 2, (240, 2))):
        layers = (nn.Dense(16), nn.Tanh(), nn.Dense(n_out))
        model = network(backend, *layers, loss=nn.BinaryCrossEntropy())
        model.fit(x, targets, optimizer=nn.Adam(0.1), epochs=25, batch_size=60)
        classes = model.predict_classes(x)
        assert classes.shape == shape
        assert np.mean(classes == targets) > 0.95
        assert model.evaluate(x, targets)["accuracy"] == pytest.approx(np.mean(classes == targets))


def test_validation_by_fraction_is_validation_by_pair(backend, moons):
    x, y = moons
    train, validation = split(len(x), 0.25, seed=0)
    pair = (x[validation], y[validation])
    by_fraction = fit(classifier(backend), x, y, validation=0.25, epochs=3)
    by_pair = fit(classifier(backend), x[train], y[train], validation=pair, epochs=3)
    for name in set(by_pair.history.names) - {"seconds"}:
        assert by_fraction.history[name] == by_pair.history[name]
    last = by_pair.evaluate(*pair)
    assert last["loss"] == pytest.approx(by_pair.history.last["validation_loss"], rel=1e-6)


def test_the_recorded_training_loss_is_the_mean_over_samples(backend, moons):
    # With a rate so small that nothing changes, the epoch's mean is that of an evaluation,
    # also with a last batch that is smaller and with weights.
    x, y = moons
    w = np.linspace(0.1, 2.0, len(y))
    for options in ({}, {"sample_weight": w}):
        settings = {"optimizer": nn.GradientDescent(1e-30), "epochs": 1, "batch_size": 50}
        model = fit(classifier(backend), x, y, **settings, **options)
        report = model.evaluate(x, y, **options)
        assert model.history.last["train_loss"] == pytest.approx(report["loss"], rel=1e-5)
        assert model.history.last["train_accuracy"] == pytest.approx(report["accuracy"], rel=1e-5)


def test_held_out_rows_of_a_memory_map_are_those_of_memory(backend, moons, memory_map):
    x, y = moons
    options = {"validation": 0.2, "epochs": 2, "class_weight": {0: 2.0}}
    model = fit(classifier(backend), memory_map(x), y, **options)
    reference = fit(classifier(backend), x, y, **options)
    assert_same_weights(model, reference)
    assert model.history["validation_loss"] == reference.history["validation_loss"]


def test_class_weights_do_not_weigh_the_validation(backend, moons):
    x, y = moons
    _, validation = split(len(x), 0.25, seed=0)
    model = fit(classifier(backend), x, y, validation=0.25, epochs=1, class_weight={0: 9.0})
    report = model.evaluate(x[validation], y[validation])
    assert model.history.last["validation_loss"] == pytest.approx(report["loss"], rel=1e-6)


def test_metrics_of_the_user_are_recorded_under_their_names(backend, moons):
    def confidence(loss, outputs, targets):
        return backend.xp.max(loss.link(outputs), axis=-1)

    model = classifier(backend, metrics=[metrics.accuracy, confidence])
    model.fit(*moons, epochs=2, validation=0.2)
    assert all(0.5 <= mean <= 1 for mean in model.history["validation_confidence"])
    names = classifier(backend, metrics=[]).fit(*moons, epochs=1).names
    assert names == ["epoch", "learning_rate", "train_loss", "seconds"]


def test_two_metrics_need_two_names(backend):
    with pytest.raises(ValueError, match="metrics with different names"):
        classifier(backend, metrics=[lambda *a: a[1][:, 0], lambda *a: a[1][:, 1]])


class RisesFromZero(nn.Schedule):
    def __call__(self, epoch, history):
        return epoch / 10


def test_names_are_those_of_the_command_line(backend, moons):
    x, y = moons
    layers = nn.Dense(4), nn.Tanh(), nn.Dense(2)
    for name, kind in nn.LOSSES.items():
        assert nn.Model(*layers, loss=name, backend=backend).loss == kind()
    named = nn.Model(*layers, loss="softmax_cross_entropy", backend=backend, metrics=["accuracy"])
    named.fit(x, y, optimizer="momentum", schedule="cosine", epochs=2)
    plain = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend)
    rate = nn.Momentum().learning_rate
    plain.fit(x, y, optimizer=nn.Momentum(nn.CosineDecay(rate, 2)), epochs=2)
    assert_same_weights(named, plain)
    assert named.history["train_accuracy"] == plain.history["train_accuracy"]
    # The next call begins a schedule of its own, with the same state of the optimiser.
    named.fit(x, y, schedule="cosine", epochs=3)
    assert named.history["learning_rate"] == [rate, pytest.approx(rate / 2)] + [
        pytest.approx(nn.CosineDecay(rate, 3)(epoch)) for epoch in range(3)
    ]
    named.fit(x, y, schedule="constant", epochs=1)
    assert named.history["learning_rate"][-1] == rate
    with pytest.raises(ValueError, match=r"learning rate of .* to begin above 0 .*'cosine', got 0"):
        named.fit(x, y, optimizer=nn.Adam(RisesFromZero()), schedule="cosine")


def test_a_named_schedule_that_did_not_begin_leaves_the_old_one(backend, moons):
    model = classifier(backend)
    model.fit(*moons, optimizer="adam", schedule="cosine", epochs=2)
    before = model.training.first_epoch
    with pytest.raises(KeyboardInterrupt):
        model.fit(*moons, schedule="cosine", epochs=2, callbacks=[Interrupt(2)])
    assert model.training.first_epoch == before


def test_writing_into_the_parameters_is_refused_and_assigning_them_counts(backend, moons):
    x, y = moons
    model = classifier(backend).build(2)
    with pytest.raises(TypeError, match=r"would not change the model\. Assign all .*params = tree"):
        model.params[0]["weight"] = 0.0
    for change in (dict.clear, dict.popitem):
        with pytest.raises(TypeError):
            getattr(model.params[0], change.__name__)()
    before = [dict(layer) for layer in model.params]
    model.params = before  # a list is as good as a tuple
    assert_same_weights(model, classifier(backend).build(2))
    if backend.library.name == "numpy":
        with pytest.raises(ValueError, match="read-only"):
            model.params[0]["weight"][:] = 0.0
    if backend.library.name == "jax":
        import jax

        assert len(jax.tree.leaves(model.params)) == len(tree_leaves(model.params))
    before, doubled = weights(model), tree_map(lambda array: 2.0 * array, model.params)
    model.params = doubled
    np.testing.assert_array_equal(weights(model), 2.0 * before)
    # The model has a copy.
    model.fit(x, y, epochs=1)
    np.testing.assert_array_equal(to_numpy(doubled[0]["weight"]).ravel(), 2.0 * before[:32])
    for wrong in (doubled[:2], ({}, {}, {}), ({"weight": x, "bias": y}, *doubled[1:])):
        with pytest.raises(nn.ShapeError, match=r"params: expected arrays of shapes .* got"):
            model.params = wrong
    assert type(pickle.loads(pickle.dumps(tree_map(to_numpy, model.params)))[0]) is dict


def test_what_users_hold_is_theirs(backend, moons):
    model = classifier(backend)
    history = model.fit(*moons, epochs=1)
    weight = model.params[0]["weight"]
    before = to_numpy(weight).copy()
    model.fit(*moons, epochs=1)
    np.testing.assert_array_equal(to_numpy(weight), before)
    assert len(history) == 1
    model.predict(moons[0])[:] = 0.0


def test_numbers_of_numpy_are_as_good_as_pythons(backend, moons, tmp_path):
    layers = (nn.Dense(np.int64(4)), nn.LeakyReLU(np.float64(0.2)), nn.Dense(2))
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend, seed=np.int64(1))
    optimizer = nn.Adam(np.float64(0.01), l2=np.float32(0.1))
    model.fit(*moons, optimizer=optimizer, epochs=np.int64(1), validation=np.float32(0.25))
    model.save(tmp_path / "m")
    assert nn.Model.load(tmp_path / "m").network == model.network
    assert to_numpy(model.predict(moons[0])).dtype == np.float32


# What goes wrong ---------------------------------------------------------------------------------


def test_divergence_names_where_and_keeps_finite_parameters(backend, moons):
    x, y = moons
    model = nn.Model(nn.Dense(8), nn.ReLU(), nn.Dense(1), loss=nn.Poisson(), backend=backend)
    model.fit(x, y, optimizer=nn.GradientDescent(0.01), epochs=1)
    before = weights(model)
    with pytest.raises(nn.DivergenceError, match="epoch 2, step 3 .* try 1e.03") as caught:
        model.fit(x, y, optimizer=nn.GradientDescent(1e4), epochs=3)
    assert "learning rate, 1e+04" in str(caught.value)
    np.testing.assert_array_equal(weights(model), before)
    assert len(model.history) == 1
    model.fit(x, y, optimizer=nn.GradientDescent(0.01), epochs=1)
    assert np.isfinite(model.evaluate(x, y)["loss"])


class Interrupt(nn.Callback):
    """Ctrl-C in the second step of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch
        self.steps = 0

    def on_batch_end(self, fit):
        self.steps += fit.epoch == self.epoch
        if self.steps == 2:
            raise KeyboardInterrupt


class InterruptedList(list):
    def append(self, row):
        super().append(row)
        raise KeyboardInterrupt


def test_an_interrupt_never_splits_the_epoch_from_its_row(backend, moons):
    model = classifier(backend)
    model.fit(*moons, epochs=1)
    before = weights(model)
    model.history.rows = InterruptedList(model.history.rows)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*moons, epochs=3)
    assert len(model.history) == model.training.epoch == 1
    np.testing.assert_array_equal(weights(model), before)


def test_a_fit_that_fails_leaves_the_last_finished_epoch(backend, moons):
    x, y = moons
    momentum = nn.Momentum(0.05)
    model, reference = everything(backend), everything(backend)
    with pytest.raises(nn.ShapeError):
        model.fit(x[:, :1], y[:-1])
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, optimizer=nn.Adam(0.1), callbacks=[Interrupt(epoch=0)])
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, optimizer=momentum, epochs=5, callbacks=[Interrupt(epoch=2)])
    reference.fit(x, y, optimizer=momentum, epochs=2)
    assert_same_weights(model, reference)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, optimizer=nn.Adam(0.1), callbacks=[Interrupt(epoch=2)])
    for trained in (model, reference):
        trained.fit(x, y, epochs=2)  # with the last optimiser
    assert model.history["learning_rate"] == [0.05] * 4
    assert_same_weights(model, reference)


def test_a_first_fit_that_diverges_blames_the_data_and_keeps_the_initial_parameters(backend):
    x = np.full((8, 2), 1e30)
    model = network(backend)
    with pytest.raises(nn.DivergenceError, match="standardise them"):
        model.fit(x, np.zeros(8), epochs=1)
    assert_same_weights(model, network(backend).build(2))
    assert model.training.optimizer is None


def test_divergence_by_the_first_update_blames_the_rate(backend, moons):
    # One step in the epoch: its loss is finite, and the parameters after it are not.
    model = network(backend)
    text = "parameters became NaN or infinite in epoch 1, step 1 .* learning rate, 3e.38"
    x = 1e3 * moons[0]
    with pytest.raises(nn.DivergenceError, match=text):
        model.fit(x, moons[1], optimizer=nn.GradientDescent(3e38), epochs=1, batch_size=None)


def test_held_out_rows_need_weights_too(backend, moons):
    x, y = moons
    _, validation = split(len(x), 0.1, seed=0)
    w = np.ones(len(x))
    w[validation] = 0.0
    with pytest.raises(nn.DataError, match="all sample weights of the rows for validation"):
        classifier(backend).fit(x, y, sample_weight=w, validation=0.1)


def test_divergence_says_that_memory_maps_are_not_looked_through(memory_map):
    x, y = nn.datasets.make_moons(60, seed=0)
    x[40] = np.nan
    with pytest.raises(nn.DivergenceError, match="step 2 .* a sample contains NaN"):
        classifier("numpy", seed=0).fit(memory_map(x), y, epochs=1)


def test_a_schedule_that_has_ended(backend, moons):
    decay = nn.Adam(nn.CosineDecay(0.01, epochs=2))
    model = fit(classifier(backend), *moons, optimizer=decay, epochs=2)
    before = weights(model)
    with pytest.warns(UserWarning, match="rate was 0 in all of epoch 3, so nothing was learned"):
        model.fit(*moons, epochs=1)
    np.testing.assert_array_equal(weights(model), before)
    model.fit(*moons, optimizer=nn.Adam(0.01), epochs=1)


def test_a_warm_up_that_begins_at_0_has_not_ended(backend, moons):
    warm_up = nn.Adam(nn.CosineDecay(0.01, epochs=3, warmup=1))
    history = classifier(backend).fit(*moons, optimizer=warm_up, epochs=3, batch_size=None)
    assert history["learning_rate"][0] == 0.0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m, x, y: m.fit(x, y[:-1]), nn.ShapeError, "240 rows, but the targets have 239"),
        (lambda m, x, y: m.fit(x, y + 1), nn.DataError, "class indices from 0 to 1"),
        (lambda m, x, y: m.fit(x, y.astype(str)), nn.DataError, "numpy.unique"),
        (lambda m, x, y: m.fit(x, y + 0j), nn.DataError, "numeric targets, got dtype complex128"),
        (lambda m, x, y: m.fit(x, y + 5), nn.DataError, r"got [56] in row 0 \(counted from 0"),
        (lambda m, x, y: m.fit(x, y, shuffle="False"), TypeError, "True or False, got 'False'"),
        (lambda m, x, y: m.fit(x, y, epochs=0), ValueError, "epochs to be at least 1"),
        (lambda m, x, y: m.fit(x, y, batch_size=0), ValueError, "batch_size .* at least 1, got 0"),
        (lambda m, x, y: m.fit(x, y, batch_size=8.0), TypeError, "batch_size to be an integer"),
        (lambda m, x, y: m.fit(x, y, epochs=2.5), TypeError, "epochs to be an integer.* 2.5"),
        (lambda m, x, y: m.fit(x, y, callbacks=[nn.EarlyStopping]), TypeError, r"Stopping\(\)"),
        (lambda m, x, y: m.fit(x, y, callbacks=nn.EarlyStopping()), TypeError, "be a list of"),
        (lambda m, x, y: m.fit(x, y, callbacks=nn.EarlyStopping), TypeError, r"=\[\.\.\.\]"),
        (lambda m, x, y: nn.EarlyStopping(patience=0), ValueError, "patience to be at least 1"),
        (lambda m, x, y: nn.EarlyStopping(patience=-2), ValueError, "patience to be at least 1"),
        (lambda m, x, y: m.fit(x, y, optimizer=nn.Adam), TypeError, r"Write Adam\(\)"),
        (lambda m, x, y: m.fit(x, y, optimizer=0.1), TypeError, "expected optimizer"),
        (lambda m, x, y: m.fit(x, y, optimizer="adm"), ValueError, "Did you mean 'adam'.* adamw"),
        (lambda m, x, y: m.fit(x, y, schedule="cos"), ValueError, "one of cosine, constant"),
        (lambda m, x, y: m.fit(x, y, schedule=0.1), TypeError, "or one of cosine, constant, got"),
        (lambda m, x, y: m.fit(x, y, schedule=nn.StepDecay), TypeError, r"Write StepDecay\(\.\."),
        (lambda m, x, y: m.fit(x, y, validation=[x, y]), TypeError, "expected a fraction"),
        (lambda m, x, y: m.fit(x, y, validation=1.5), ValueError, "above 0 and below 1"),
        (lambda m, x, y: m.fit(x), TypeError, "need targets"),
        (lambda m, x, y: m.fit("x.npy", y), nn.DataError, "got str: read a file first"),
        (lambda m, x, y: m.fit(iter(x), y), nn.DataError, "array of shape .*batches one by one"),
        (lambda m, x, y: m.fit(1.0, y), nn.ShapeError, "a single number is not a sample"),
        (lambda m, x, y: m.predict(x), nn.AnybackError, "call fit"),
        (lambda m, x, y: m.fit(x, y, epochs=1) and m.predict(x[:, :1]), nn.ShapeError, "takes 2"),
        (lambda m, x, y: m.fit(x, y, class_weight={9: 1}), nn.DataError, "no output for: .9."),
        (lambda m, x, y: m.fit([(x, y)], class_weight="balanced"), ValueError, "^class_weight: "),
        (lambda m, x, y: m.fit([(x, y)], validation=0.1), ValueError, "fraction"),
        (lambda m, x, y: m.fit(x, y, class_weight={1: -1.0}), nn.DataError, "0 or greater"),
        (lambda m, x, y: m.fit(x, y, class_weight={0: 0, 1: 0}), nn.DataError, "all sample we"),
        (lambda m, x, y: m.params, nn.AnybackError, "call fit"),
        (lambda m, x, y: m.build(2).evaluate([(x, y)], sample_weight=y), ValueError, "in its"),
    ],
)
def test_misuse_is_explained(backend, moons, call, error, text):
    with pytest.raises(error, match=text):
        call(classifier(backend), *moons)


def test_constructor_mistakes_are_explained(backend):
    with pytest.raises(TypeError, match=r"Write MeanSquaredError\(\)"):
        nn.Model(nn.Dense(1), loss=nn.MeanSquaredError, backend=backend)
    with pytest.raises(ValueError, match=r"unknown loss 'huber_'\. Did you mean 'huber'\?"):
        nn.Model(nn.Dense(1), loss="huber_", backend=backend)
    with pytest.raises(ValueError, match="float32, float64, got 'float16'"):
        nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend, dtype="float16")
    with pytest.raises(TypeError, match="does not classify"):
        network(backend).predict_classes([[1]])


def test_training_moves_the_state_of_the_layers(backend):
    x = np.random.default_rng(0).normal(size=(40, 2))
    model = network(backend, nn.BatchNorm(0.5), nn.Dense(1))
    model.fit(x, x[:, 0], epochs=1, batch_size=None)
    state = model.training.state[0]
    means, variances = 0.5 * x.mean(axis=0), 0.5 + 0.5 * x.var(axis=0, ddof=1)
    assert_close(state["mean"], means.astype("float32"), rtol=1e-5, atol=1e-7)
    assert_close(state["variance"], variances.astype("float32"), rtol=1e-5)


def test_every_epoch_has_its_own_masks(backend):
    x = np.random.default_rng(0).normal(size=(64, 8))
    model = network(backend, nn.Dropout(0.5), nn.Dense(1))
    # Nothing but the masks changes.
    still = nn.GradientDescent(1e-30)
    model.fit(x, x[:, 0], optimizer=still, epochs=3, batch_size=None, shuffle=False)
    assert len(set(model.history["train_loss"])) == 3


def test_a_schedule_sees_how_far_the_epoch_has_come(backend):
    epochs = []

    class Recorded(nn.Schedule):
        def __call__(self, epoch, history=()):
            epochs.append(epoch)
            return 0.1

    optimizer = nn.GradientDescent(Recorded())
    fit(
        network(backend), np.zeros((8, 1)), np.zeros(8), optimizer=optimizer, epochs=2, batch_size=2
    )
    assert epochs == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def test_another_optimizer_counts_its_own_steps(backend):
    x, y = np.ones((8, 1)), np.zeros(8)
    model = fit(network(backend), x, y, optimizer=nn.GradientDescent(1e-30), epochs=5, batch_size=2)
    before = to_numpy(model.params[0]["weight"])
    model.fit(x, y, optimizer=nn.Adam(0.01), epochs=1, batch_size=None)
    assert model.training.step == 1
    assert list(model.training.optimizer_state) == ["mean", "square"]
    # The first step of Adam is as long as its rate.
    step = np.abs(to_numpy(model.params[0]["weight"]) - before)
    np.testing.assert_allclose(step, 0.01, rtol=1e-3)


# Moving and saving -------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["numpy", "array-api-strict"])
def test_a_model_that_moves_trains_as_it_would_have(backend, moons, float64, other):
    options = {"optimizer": nn.AdamW(0.01), "epochs": 2}
    model = everything(backend, float64)
    model.fit(*moons, **options)
    moved = model.to(other)
    assert_same_weights(moved, model)
    model.fit(*moons, **options)
    moved.fit(*moons, **options)
    np.testing.assert_allclose(weights(moved), weights(model), rtol=1e-8, atol=1e-10)
    assert moved.history["epoch"] == [1, 2, 3, 4]


def test_a_resumed_run_is_the_uninterrupted_run(backend, moons, tmp_path):
    options = {"optimizer": nn.Adam(nn.ExponentialDecay(0.01)), "validation": 0.2}
    model = everything(backend, seed=7)
    model.fit(*moons, epochs=1)  # so that the other optimiser, and its schedule, begin later
    model.fit(*moons, epochs=2, **options)
    model.save(tmp_path / "m.safetensors")
    loaded = nn.Model.load(tmp_path / "m.safetensors", backend=backend)
    for resumed in (model, loaded):
        resumed.fit(*moons, epochs=2, **options)
    assert loaded.history["learning_rate"] == model.history["learning_rate"]
    assert loaded.history["validation_loss"][1:] == model.history["validation_loss"][1:]
    assert_same_weights(loaded, model)


def test_the_summary_counts_the_parameters(backend):
    model = everything(backend).build(2)
    rows = model.summary()
    assert [row.parameters for row in rows] == [32, 32, 0, 0, 136 + 16 + 144, 34]
    assert sum(row.parameters for row in rows) == model.layout.size == weights(model).size
    assert rows[0].output_shape == (None, 16)


def test_a_model_can_be_pickled(backend, moons, dtype):
    model = fit(everything(backend, dtype), *moons, epochs=1)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.predict(moons[0]).dtype == np.dtype(dtype)
    np.testing.assert_array_equal(copy.predict(moons[0]), model.predict(moons[0]))


@pytest.mark.needs("torch")
def test_where_the_backend_is_missing_a_pickle_is_on_numpy(moons, monkeypatch):
    model = fit(everything("torch"), *moons, epochs=1)
    pickled, load = pickle.dumps(model), base.load

    def load_others(library, spec=None):
        if library.module == "torch":
            raise nn.BackendUnavailableError(f"backend {spec!r}: torch is not installed")
        return load(library, spec)

    monkeypatch.setattr(base, "load", load_others)
    with pytest.warns(UserWarning, match="on NumPy from now on, because: backend 'torch': torch"):
        copy = pickle.loads(pickled)
    assert copy.backend == nn.select("numpy")
    np.testing.assert_allclose(copy.predict(moons[0]), model.predict(moons[0]), atol=1e-6)
    assert len(fit(copy, *moons, epochs=1).history) == 2


def test_gradients_whose_squares_overflow_are_named(backend):
    # The parameters and losses are finite.
    x = np.full((8, 2), 1e10)
    model = network(backend)
    text = "the optimiser's means became NaN or infinite in epoch 1, step 1.*standardise"
    with pytest.raises(nn.DivergenceError, match=text):
        model.fit(x, np.full(8, 1e15), batch_size=8, optimizer=nn.Adam(1e-3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clip_norm_helps_against_gradients_whose_squares_overflow(backend, dtype):
    size = {"float32": 1e10, "float64": 1e85}[dtype]
    x, y = np.asarray([[size, -2.0 * size]] * 8), np.full(8, size**1.5)
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend, dtype=dtype).build(2)
    before = weights(model).astype("longdouble")
    optimizer = nn.GradientDescent(1.0, clip_norm=0.5)
    model.fit(x, y, batch_size=8, optimizer=optimizer, epochs=1)
    direction = np.asarray([1.0, -2.0, 1.0 / size])  # that of weights and bias
    direction *= -np.sign(to_error := (before[:2] @ x[0] - y[0]).astype(float))
    assert abs(to_error) * size > np.finfo(dtype).max ** 0.5
    step = weights(model) - before
    np.testing.assert_allclose(
        step.astype(float), 0.5 * direction / np.linalg.norm(direction), atol=1e-6
    )


# What is compiled --------------------------------------------------------------------------------


class Scaled(nn.Layer):
    """Has no dataclass's comparison, so every one is another."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, params, x, context=nn.PREDICTION):
        return self.factor * x, None

    def backward(self, params, cache, dy):
        return self.factor * dy, {}


def compiled(model):
    """Return a function of the model that its backend has compiled."""
    layout, network = model.layout, model.network
    return model.get_compiled(
        "a test", lambda: lambda params, x: network.forward(layout.unpack(params), x)[0]
    )


@pytest.mark.parametrize("targets", [[0, 1], None])
def test_a_model_without_parameters_cannot_be_evaluated(targets):
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    data = np.zeros((2, 3)) if targets else [(np.zeros((2, 3)), [0, 1])]
    with pytest.raises(nn.AnybackError, match="no parameters yet"):
        model.evaluate(data, targets)


def test_models_of_one_architecture_share_what_is_compiled(backend):
    first, second = (classifier(backend, seed=seed).build(2) for seed in (0, 1))
    copy = pickle.loads(pickle.dumps(first))
    assert compiled(first) is compiled(second) is compiled(copy) is compiled(first)
    # And keep their own parameters.
    x = backend.asarray(np.ones((3, 2)), "float32")
    for model in (first, second):
        predicted = model.loss.link(compiled(model)(model.training.params, x))
        assert_close(predicted, model.predict(np.ones((3, 2))), rtol=1e-7, atol=1e-6)
    assert np.abs(first.predict(np.ones((3, 2))) - second.predict(np.ones((3, 2)))).max() > 1e-3


@pytest.mark.parametrize(
    "change",
    [
        {"layers": (nn.Dense(17), nn.Tanh())},
        {"layers": (nn.Dense(16), nn.ReLU())},
        {"layers": (nn.Dense(16, bias=False), nn.Tanh())},
        {"layers": (nn.Dense(16), nn.Tanh(), nn.Dropout(0.5))},
        {"layers": (nn.Dense(16), nn.LeakyReLU(0.5))},
        {"n_in": 3},
        {"loss": nn.SoftmaxCrossEntropy(0.1)},
        {"loss": nn.MeanSquaredError()},
        {"metrics": ()},
        {"dtype": "float64"},
    ],
    ids=lambda change: " ".join(map(repr, change.values())),
)
def test_models_of_other_architectures_do_not(backend, change):
    def build(layers=None, n_in=2, loss=None, **options):
        layers, loss = layers or (nn.Dense(16), nn.Tanh()), loss or nn.SoftmaxCrossEntropy()
        model = nn.Model(*layers, nn.Dense(2), loss=loss, backend=backend, **options)
        return model.build(n_in)

    if change.get("dtype") == "float64" and not backend.supports("float64"):
        pytest.skip("no float64 there")
    assert compiled(build(**change)) is not compiled(build())


def test_every_backend_compiles_for_itself(backend):
    for spec in {"numpy", "array-api-strict"} - {backend.spec}:
        model, other = classifier(backend).build(2), classifier(spec).build(2)
        assert compiled(model) is not compiled(other)


def test_layers_of_the_users_are_not_taken_for_each_other(backend):
    x = np.asarray([[1.0, 2.0]])
    outputs = []
    for factor in (1.0, 3.0):
        model = network(backend, Scaled(factor), nn.Dense(1, initializer=nn.Constant(1.0))).build(2)
        outputs.append(float(model.predict(x)[0, 0]))
    assert outputs == [3.0, 9.0]


@dataclass(frozen=True)
class Times(nn.Layer):
    """Two of them are equal, whatever their factors."""

    factor: float = field(compare=False)

    def forward(self, params, x, context=nn.PREDICTION):
        return self.factor * x, None

    def backward(self, params, cache, dy):
        return self.factor * dy, {}


@dataclass(frozen=True)
class TimesGradient(nn.GradientDescent):
    factor: float = field(compare=False, kw_only=True)

    def rule(self, p, g, state, *coefficients):
        return super().rule(p, self.factor * g, state, *coefficients)


@dataclass(frozen=True)
class TimesError:
    factor: float = field(compare=False)
    __name__ = "times_error"

    def __call__(self, loss, outputs, targets):
        return self.factor * nn.array_namespace(outputs).abs(outputs - targets)[..., 0]


def train_custom(backend, layer=1.0, loss=1.0, rule=1.0, metric=1.0, model=None):
    """Return the predictions, the weight and the metric of a model of custom parts."""
    x, y = np.asarray([[1.0], [2.0]]), np.asarray([1.0, 3.0])
    model = model or nn.Model(
        Times(layer),
        nn.Dense(1, initializer=nn.Constant(1.0), bias=False),
        loss=TimesSquared(loss),
        metrics=[TimesError(metric)],
        backend=backend,
    )
    first = model.build(1).predict(x)[:, 0].tolist()
    optimizer = TimesGradient(0.125, factor=rule)
    history = model.fit(x, y, optimizer=optimizer, epochs=2, batch_size=None)
    weight = float(to_numpy(model.params[1]["weight"])[0, 0])
    return first, weight, history["train_times_error"], model.evaluate(x, y)["loss"]


@pytest.mark.parametrize("part", ["layer", "loss", "rule", "metric"])
def test_custom_parts_that_compare_equal_are_not_taken_for_each_other(backend, part):
    def descend(layer=1.0, loss=1.0, rule=1.0, metric=1.0):
        x, y, weight, errors = np.asarray([1.0, 2.0]) * layer, np.asarray([1.0, 3.0]), 1.0, []
        for _ in range(2):
            error = weight * x - y
            errors.append(metric * np.abs(error).mean())
            weight -= 0.125 * rule * loss * np.mean(2.0 * error * x)
        return x.tolist(), weight, errors, loss * np.mean((weight * x - y) ** 2)

    for factor in (1.0, 0.5, 1.5):
        actual = train_custom(backend, **{part: factor})
        for value, expected in zip(actual, descend(**{part: factor}), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_second_optimizer_that_compares_equal_takes_its_own_steps(backend):
    model = nn.Model(nn.Dense(1, bias=False), loss=nn.MeanSquaredError(), backend=backend).build(1)
    weights = [float(to_numpy(model.params[0]["weight"])[0, 0])]
    for factor in (1.0, 0.0):
        rule = TimesGradient(0.125, factor=factor)
        model.fit(np.ones((4, 1)), np.full(4, 5.0), optimizer=rule, epochs=1)
        weights.append(float(to_numpy(model.params[0]["weight"])[0, 0]))
    assert weights[0] != weights[1] == weights[2]


class Counted(Scaled):
    """Changes itself in each call, and has attributes that cannot be pickled."""

    def __init__(self, factor):
        super().__init__(factor)
        self.n_calls, self.function = 0, lambda x: x
        self.files = (line for line in ())

    def forward(self, params, x, context=nn.PREDICTION):
        self.n_calls += 1
        return super().forward(params, x, context)


@pytest.mark.parametrize("kind", [Scaled, Counted])
def test_a_changed_attribute_of_a_custom_layer_takes_effect(backend, kind):
    layer, x = kind(np.asarray([1.0], dtype="float32").tolist()[0]), np.asarray([[1.0], [2.0]])
    model = nn.Model(layer, loss=nn.MeanSquaredError(), backend=backend).build(1)
    assert model.predict(x)[:, 0].tolist() == [1.0, 2.0]
    layer.factor = 3.0
    assert model.predict(x)[:, 0].tolist() == [3.0, 6.0]

    class Change(nn.Callback):
        def on_epoch_end(self, fit):
            layer.factor += 1.0

    # In the middle of a fit, too.
    history = model.fit(x, np.zeros(2), epochs=3, batch_size=None, callbacks=[Change()])
    assert history["train_loss"] == [2.5 * factor**2 for factor in (3.0, 4.0, 5.0)]


@pytest.mark.needs("jax")
def test_a_custom_layer_is_compiled_again_only_if_it_changed():
    layer = Counted(1.0)
    model = nn.Model(layer, loss=nn.MeanSquaredError(), backend="jax").build(1)
    for n_rows in (1, 2, 1, 2, 1, 2):
        model.predict(np.ones((n_rows, 1)))
    assert layer.n_calls == 2


def test_training_of_shared_models_is_that_of_a_model_alone(backend, moons):
    # The same step serves several optimisers' rates and several models in turn.
    x, y = moons
    optimizers = nn.Momentum(0.1), nn.Momentum(0.01)
    alone = [fit(classifier(backend), x, y, optimizer=rule, epochs=2) for rule in optimizers]
    models = [classifier(backend), classifier(backend)]
    for _ in range(2):
        for model, rule in zip(models, optimizers):
            model.fit(x, y, optimizer=rule, epochs=1)
    for model, reference in zip(models, alone):
        assert_same_weights(model, reference)
