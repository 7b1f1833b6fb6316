"""Batches: every row once an epoch, rows kept together, and checks of what users pass."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
import scipy.sparse

import anyback_nn as nn
from anyback_nn.array_api import on_host, to_numpy
from anyback_nn.inputs import batches, checks
from anyback_nn.inputs.batches import ArraySource, array_source, split
from anyback_nn.inputs.checks import Samples
from anyback_nn.inputs.sample_weights import (
    compute_class_weights,
    compute_training_weights,
    scale_to_mean_one,
)

N = 23


def rows(n=N):
    """Return rows whose values are their numbers, so that any mix-up shows."""
    x = np.arange(n, dtype=np.float64)[:, None] * np.asarray([1.0, 10.0])
    return x, np.arange(n), np.arange(n) + 0.5


def source(backend, arrays, **options):
    return array_source(Samples(*arrays), backend, "float32", **options)


def numbers(source, epoch):
    """Return the row numbers of each batch; assert that x, y and weights belong together."""
    batches = []
    for batch in source.epoch(epoch):
        x, y, weights = (to_numpy(a) for a in batch)
        np.testing.assert_array_equal(x[:, 0], y)
        np.testing.assert_array_equal(x[:, 1], 10 * x[:, 0])
        np.testing.assert_array_equal(weights, y + 0.5)
        batches.append(y.tolist())
    return batches


def rows_of(batches):
    return [row for batch in batches for row in batch]


def test_an_epoch_has_every_row_once_and_uses_the_last_partial_batch(backend):
    batches = numbers(source(backend, rows(), batch_size=5, shuffle=True), 0)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(rows_of(batches)) == list(range(N))


def test_the_order_is_new_in_each_epoch_and_fixed_by_the_seed(backend):
    first, again, other = (
        source(backend, rows(), batch_size=5, shuffle=True, seed=seed) for seed in (1, 1, 2)
    )
    assert numbers(first, 0) == numbers(again, 0)
    assert numbers(first, 0) != numbers(first, 1)
    assert numbers(first, 0) != numbers(other, 0)
    assert rows_of(numbers(first, 0)) != list(range(N))


def test_the_order_is_that_of_numpy_on_every_backend(backend):
    options = {"batch_size": 5, "shuffle": True, "seed": 3}
    reference = source(nn.select("numpy"), rows(), **options)
    assert numbers(source(backend, rows(), **options), 2) == numbers(reference, 2)


def test_without_shuffling_rows_come_in_order(backend):
    assert rows_of(numbers(source(backend, rows(), batch_size=4), 5)) == list(range(N))


@pytest.mark.parametrize("size", [None, N, 10 * N])
def test_one_batch_of_everything(backend, size):
    whole = source(backend, rows(), batch_size=size)
    assert (whole.n_batches, len(numbers(whole, 0))) == (1, 1)


def test_a_memory_map_gives_the_same_batches_and_stays_on_disk(backend, tmp_path):
    x, y, weights = rows()
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    options = {"batch_size": 5, "shuffle": True, "seed": 3}
    on_disk = source(backend, (mapped, y, weights), **options)
    assert isinstance(on_disk.rows.x, np.memmap)
    assert numbers(on_disk, 1) == numbers(source(backend, (x, y, weights), **options), 1)


def test_inputs_and_real_targets_get_the_dtype_and_class_indices_stay_integers(backend):
    x, y, weights = rows()
    batch = next(iter(source(backend, (x.astype(np.int16), y, weights)).epoch(0)))
    assert to_numpy(batch.x).dtype == np.float32
    assert to_numpy(batch.weights).dtype == np.float32
    assert to_numpy(batch.y).dtype.kind == "i"


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (np.ones(3), nn.ShapeError, r"got \(3,\): use x\[:, None\]"),
        (np.ones((2, 3, 3)), nn.ShapeError, r"reshape\(len\(x\), -1\)"),
        (np.ones((0, 3)), nn.DataError, "at least one sample"),
        (np.ones((3, 0)), nn.DataError, "and one feature"),
        (scipy.sparse.eye(3).tocsr(), nn.DataError, r"sparse one: pass x.toarray\(\)"),
        (np.ones((2, 4)), nn.ShapeError, "takes 3 features, got inputs with 4"),
        (np.asarray([["a", "b", "c"]]), nn.DataError, "numeric inputs, got dtype <U1"),
        (np.asarray([[1, None, 2]]), nn.DataError, "numeric inputs, got dtype object"),
        ([[1, 2, 3], [1, np.nan, 3]], nn.DataError, "in 1 of 2 rows, first in row 1"),
        ([[1, 2, 3], [1, 2, np.inf]], nn.DataError, "NaN or infinite"),
    ],
)
def test_inputs_are_checked(x, error, text):
    with pytest.raises(error, match=text):
        checks.check_inputs(x, 3)


@pytest.mark.parametrize(("number", "text"), [(-1e300, "beyond float32"), (np.nan, "NaN")])
def test_a_memory_map_is_checked_where_predictions_read_it(backend, tmp_path, number, text):
    x = np.zeros((40, 2))
    x[33, 0] = number
    np.save(tmp_path / "x.npy", x)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend).build(2)
    with pytest.raises(nn.DataError, match=rf"{text}.*first in row 33"):
        model.predict(x, batch_size=16)
    with pytest.raises(nn.DataError, match=rf"{text}.*first in row 33"):
        model.evaluate(x, np.zeros(40), batch_size=16)
    with pytest.raises(nn.DataError, match=rf"batch 1: .*{text}.*first in row 13"):
        model.fit([(x[:20], np.zeros(20)), (x[20:], np.zeros(20))], progress=False)
    assert np.all(np.isfinite(to_numpy(model.predict(x[:32]))))


def test_inputs_beyond_the_dtype_of_the_model_are_refused_everywhere(backend, float64):
    """Also in prediction, where they would become infinite and the outputs NaN."""
    x, y = nn.datasets.make_blobs(40, seed=0)
    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    model.fit(x, y, epochs=1, progress=False)
    large = to_numpy(x).astype("float64")
    large[3, 0] = -1e300
    for given in large, backend.asarray(large, float64):
        for call in model.fit, model.evaluate, lambda x, y: model.predict(x):
            with pytest.raises(nn.DataError, match=r"beyond float32 .*, first in row 3"):
                call(given, y)
    with pytest.raises(nn.DataError, match="beyond float32"):
        model.fit([(large, y)])
    double = nn.Model(nn.Dense(3), loss="softmax_cross_entropy", backend=backend, dtype="float64")
    assert np.isfinite(to_numpy(double.build(2).predict(large / 1e10))).all()


@pytest.mark.parametrize(
    ("weights", "error", "text"),
    [
        (np.ones(3), nn.ShapeError, r"shape \(4,\), got \(3,\)"),
        (np.ones((4, 1)), nn.ShapeError, r"got \(4, 1\)"),
        (-np.ones(4), nn.DataError, "0 or greater"),
        ([1, 1, 1, np.nan], nn.DataError, "finite"),
        (list("abcd"), nn.DataError, "numeric"),
    ],
)
def test_sample_weights_are_checked(weights, error, text):
    with pytest.raises(error, match=text):
        checks.check_weights(weights, 4)


def test_rows_that_are_held_out_have_no_part_in_the_weights():
    from sklearn.utils.class_weight import compute_sample_weight

    y = np.asarray([0, 0, 1, 0, 1, 1, 1])
    train = np.asarray([0, 1, 3, 4])
    batch = Samples(np.zeros((7, 1)), y)
    ours = compute_training_weights(batch, "balanced", nn.SoftmaxCrossEntropy(), 2, train)
    expected = np.zeros(7)
    expected[train] = compute_sample_weight("balanced", y[train])  # whose mean is 1
    np.testing.assert_allclose(ours, expected)


def test_class_weights_by_class_default_to_one():
    assert compute_class_weights(np.asarray([0, 1, 2]), {1: 5.0}).tolist() == [1, 5, 1]
    with pytest.raises(nn.DataError, match=r"no output for: \[7\]. .* from 0 to 1"):
        compute_class_weights(np.asarray([0, 1]), {7: 2.0})
    with pytest.raises(ValueError, match="'balanced' or a mapping, got 'even'"):
        compute_class_weights(np.asarray([0, 1]), "even")


def test_a_class_weight_may_name_a_class_that_no_sample_has():
    y = np.asarray([0, 2, 2])
    assert compute_class_weights(y, {1: 5.0, 2: 3.0, 3: 7.0}, 4).tolist() == [1, 3, 3]
    assert compute_class_weights(y, {2.0: 3.0, np.int64(3): 7}, 4).tolist() == [1, 3, 3]


@pytest.mark.parametrize(
    ("weights", "error", "text"),
    [
        ({0: 1.0, "a": 2.0}, TypeError, r"class index \(an integer\).*the keys a"),
        ({0.5: 1.0, None: 2.0}, TypeError, "the keys 0.5, None"),
        ({np.nan: 1.0}, TypeError, "the keys nan"),
        ({0: "heavy"}, TypeError, "weight of class 0, got 'heavy'"),
        ({0: None}, TypeError, "weight of class 0, got None"),
        ({1: -1.0}, ValueError, "weight of class 1 to be finite and 0 or greater, got -1.0"),
        ({1: np.inf}, ValueError, "got inf"),
        ({1: np.nan}, ValueError, "got nan"),
        ({-1: 1.0, 9: 1.0}, nn.DataError, r"no output for: \[-1, 9\]"),
        ([1.0, 2.0], TypeError, "or a mapping"),
    ],
)
def test_class_weights_are_checked(weights, error, text):
    with pytest.raises(error, match=text):
        compute_class_weights(np.asarray([0, 1]), weights, 2)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_only_the_proportions_of_weights_count(size):
    np.testing.assert_allclose(
        scale_to_mean_one(size * np.asarray([1.0, 3.0, 0.0, 4.0])), [0.5, 1.5, 0, 2]
    )


def test_a_split_is_a_partition_drawn_by_the_seed():
    train, validation = split(100, 0.25, seed=0)
    assert len(validation) == 25
    assert sorted([*train, *validation]) == list(range(100))
    assert validation.tolist() == split(100, 0.25, seed=0)[1].tolist()
    assert validation.tolist() != split(100, 0.25, seed=1)[1].tolist()
    for fraction in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="above 0 and below 1"):
            split(10, fraction, 0)
    with pytest.raises(nn.DataError, match="leaves one part empty"):
        split(2, 0.1, 0)


# What is no plain array of numbers ---------------------------------------------------------------


class Subclass(np.ndarray):
    """A subclass that computes something else."""

    def __array_ufunc__(self, *arguments, **options):
        raise AssertionError("a subclass must not compute")


@pytest.mark.parametrize("part", ["inputs", "targets", "sample weights"])
def test_masked_arrays_are_refused_if_something_is_masked(backend, part):
    names = ("inputs", "targets", "sample weights")
    data = dict(zip(names, (np.ones((4, 2)), np.arange(4.0), np.ones(4))))
    data[part] = np.ma.masked_array(data[part], mask=np.zeros(data[part].shape))
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend)
    x, y, weights = data.values()
    model.fit(x, y, sample_weight=weights, epochs=1)
    model.fit([(x, y, weights)], epochs=1)
    assert type(model.predict(x)) is np.ndarray
    data[part][1] = np.ma.masked
    x, y, weights = data.values()
    text = f"expected the {part} without masked elements, got [12] masked elements?: .*filled"
    for arguments in ((x, y), ([(x, y, weights)],)):
        options = {"sample_weight": weights} if len(arguments) == 2 else {}
        with pytest.raises(nn.DataError, match=text):
            model.fit(*arguments, epochs=1, **options)
        with pytest.raises(nn.DataError, match=text):
            model.evaluate(*arguments, **options)
    if part == "inputs":
        for masked in (x, list(x), tuple(x)):
            with pytest.raises(nn.DataError, match="expected the inputs without masked"):
                model.predict(masked)


def test_other_subclasses_become_plain_arrays(backend):
    x, y = np.arange(8.0).reshape(4, 2), np.arange(4.0)
    models = [nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend) for _ in range(2)]
    for model, kind in zip(models, (np.ndarray, Subclass)):
        model.fit(x.view(kind), y.view(kind), sample_weight=(y + 1).view(kind), epochs=2)
        assert type(model.predict(x.view(kind))) is np.ndarray
    assert models[0].history["train_loss"] == models[1].history["train_loss"]
    record = x.view(np.recarray)
    assert type(checks.check_inputs(record)) is np.ndarray


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn", "int4"])
def test_numbers_of_any_width_are_numbers(backend, dtype, tmp_path):
    kind = np.float16 if dtype == "float16" else getattr(pytest.importorskip("ml_dtypes"), dtype)
    numbers = np.asarray([[0.5, 1.0], [2.0, -3.0], [1.0, 4.0]])
    numbers = numbers.astype(kind).astype("float32")  # int4 has no half
    x, y, weights = numbers.astype(kind), numbers[:, 0].astype(kind), np.ones(3).astype(kind)
    models = [nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend) for _ in range(3)]
    models[0].fit(numbers, numbers[:, 0], sample_weight=np.ones(3), epochs=2, shuffle=False)
    models[1].fit(x, y, sample_weight=weights, epochs=2, shuffle=False)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r").view(kind)
    models[2].fit(mapped, y, epochs=2, shuffle=False)
    for model in models[1:]:
        np.testing.assert_allclose(model.predict(x), models[0].predict(numbers), rtol=1e-6)
    with pytest.raises(nn.DataError, match="numeric inputs, got dtype |V8"):
        checks.check_inputs(np.zeros((2, 2), dtype="V8"))


# Batches of an iterable --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        (1, [0, 3], "class indices from 0 to 2"),
        (1, [0, -1], "class indices from 0 to 2"),
        (1, [0, 255], "class indices from 0 to 2"),
        (0, [[0.0, np.nan], [0.0, 0.0]], "NaN or infinite"),
        (2, [1.0, -1.0], "0 or greater"),
        (2, [1.0, 1.0, 1.0], r"shape \(2,\), got \(3,\)"),
        (0, np.zeros((2, 3)), "takes 2 features"),
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["numpy", "own"])
def test_batches_from_the_host_are_checked_in_every_epoch(backend, part, value, text, own):
    if own and not on_host(backend.asarray([0.0], "float32")):
        pytest.skip("its arrays are on a device")

    class Batches:
        def epoch(self, number):
            batch = [np.zeros((2, 2), "float32"), np.asarray([0, 2]), np.ones(2, "float32")]
            if number == 2:
                batch[part] = np.asarray(value, dtype=batch[part].dtype)
            yield [backend.asarray(array) for array in batch] if own else batch

        def __iter__(self):
            return self.epoch(0)

    model = nn.Model(nn.Dense(3), loss=nn.SoftmaxCrossEntropy(), backend=backend)
    with pytest.raises(nn.AnybackError, match=f"batch 0: .*{text}"):
        model.fit(Batches(), epochs=4)
    assert len(model.history) == 2


def test_objects_with_numbered_batches_and_a_length_are_iterables_of_batches(backend):
    x, y = np.arange(12.0).reshape(6, 2) / 12.0, np.arange(6.0) / 6.0

    class Numbered:
        """As the sequences of Keras, which raise no error beyond their end."""

        def __getitem__(self, index):
            return x[2 * index : 2 * index + 2], y[2 * index : 2 * index + 2]

        def __len__(self):
            return 3

    models = [nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend) for _ in range(2)]
    models[0].fit(Numbered(), epochs=3)
    models[1].fit(x, y, batch_size=2, shuffle=False, epochs=3)
    assert models[0].history["train_loss"] == models[1].history["train_loss"]
    assert models[0].evaluate(Numbered()) == pytest.approx(models[0].evaluate(x, y), rel=1e-5)
    with pytest.raises(nn.DataError, match="expected inputs as an array.*got Numbered"):
        models[0].predict(Numbered())


# Variation that a cast loses ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 3000])
@pytest.mark.parametrize("as_batches", [False, True])
def test_columns_that_lose_all_variation_in_the_cast_are_named(backend, n, as_batches):
    noise = np.linspace(0.0, 1.0, n)
    x = np.stack([noise, np.ones(n), 1.7e9 + noise, 1e9 * noise], axis=1) / 1e9
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend)

    def fit(x, y):
        model.fit(*([[(x, y)]] if as_batches else (x, y)), epochs=1)

    text = "1 column of the inputs will be constant in float32.* column 2, from 1.7 to 1.7.*mean"
    with pytest.warns(UserWarning, match=text):
        fit(x, noise)
    x = x[:, [0, 1, 3, 3]]
    text = "1 column of the targets will be constant in float32.*dtype='float64'"
    for y in (1.7e9 + noise, 2**40 + np.arange(n) % 2):
        with pytest.warns(UserWarning, match=text), contextlib.suppress(nn.DivergenceError):
            fit(x, y)
    fit(x, noise)  # warns of nothing
    with pytest.warns(UserWarning, match="1 column of the targets"):
        fit(x, np.where(np.arange(n) == n - 1, 1.0 + 1e-9, 1.0))
    if backend.supports("float64"):
        model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend, dtype="float64")
        fit(x, np.where(np.arange(n) == n - 1, 1.0 + 1e-9, 1.0))


@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize(("span", "is_lost"), [(200, True), (50_000, True), (10**6, False)])
def test_columns_that_lose_half_of_their_values_in_the_cast_are_named(dtype, span, is_lost):
    seconds = np.linspace(0, span, 3000).astype(dtype)
    x = np.stack([np.arange(3000) % 7, 1_600_000_000 + seconds], axis=1).astype(dtype)
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with contextlib.suppress(nn.DivergenceError):
            model.fit(x, x[:, 0] / 7, epochs=1)
    text = "1 column of the inputs will lose half of the distinct values or more in float32"
    assert [str(warning.message).startswith(text) for warning in caught] == [True] * is_lost


def test_weights_of_rows_that_are_set_aside_must_not_all_be_zero(backend):
    x, y = np.arange(10.0)[:, None], np.arange(10.0)
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError(), backend=backend)
    train, validation = split(10, 0.2, 0)
    for rows, what in ((validation, "validation"), (train, "training")):
        weights = np.ones(10)
        weights[rows] = 0.0
        text = f"all sample weights of the rows for {what} are 0"
        with pytest.raises(nn.DataError, match=text):
            model.fit(x, y, sample_weight=weights, validation=0.2, epochs=1)
    with pytest.raises(nn.DataError, match="all sample weights of the rows for validation are 0"):
        model.fit(x, y, validation=(x, y, np.zeros(10)), epochs=1)


# Blocks of batches -------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 12, 30, 1000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_that_are_cut_from_blocks_are_the_same(backend, most, shuffle, monkeypatch):
    x, y = np.arange(22.0).reshape(11, 2), np.arange(11)
    rows = Samples(backend.asarray(x, "float32"), backend.asarray(y, "int32"))
    options = {"batch_size": 3, "shuffle": shuffle, "seed": 5}
    blocks = []

    def move_block(block):
        blocks.append(block)
        return block

    monkeypatch.setattr(batches, "BLOCK", most)
    source = ArraySource(rows, move_block, **options)
    cut = [tuple(map(to_numpy, batch[:2])) for batch in source.epoch(0)]
    # A batch has 6 numbers, so that 12 hold two batches, and 30 all of them.
    assert len(blocks) == {1: 4, 12: 2, 30: 1, 1000: 1}[most]
    assert [len(x_cut) for x_cut, _ in cut] == [3, 3, 3, 2]
    whole = ArraySource(rows, lambda batch: batch, in_blocks=False, **options)
    for (x_cut, y_cut), batch in zip(cut, whole.epoch(0), strict=True):
        np.testing.assert_array_equal(x_cut, to_numpy(batch.x))
        np.testing.assert_array_equal(y_cut, to_numpy(batch.y))
    order = [number for _, y_cut in cut for number in y_cut]
    assert sorted(order) == list(range(11))
    assert (order == list(range(11))) == (not shuffle)
