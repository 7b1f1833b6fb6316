"""Data frames as inputs of a model: the oracle is the same model on their numbers as arrays."""

import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyback_nn as nn
from anyback_nn.errors import CheckpointError, DataError
from anyback_nn.inputs.frames import frame_to_numpy

DRAW = np.random.default_rng(0)
X = np.column_stack([DRAW.normal(size=40), DRAW.integers(0, 9, 40), DRAW.random(40) < 0.5])
Y = DRAW.integers(0, 2, 40)


def build_frame(library, x=X):
    """Return a frame with nullable and boolean columns."""
    columns = {"width": x[:, 0], "count": x[:, 1].astype(int), "new": x[:, 2].astype(bool)}
    if library == "polars":
        return pl.DataFrame(columns)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns, index=range(7, 7 + len(x)))
    return frame.astype({"count": "Int64", "new": "boolean"})


def build_column(library, values):
    if library == "polars":
        return pl.Series(values)
    return pytest.importorskip("pandas").Series(values, dtype="Int64")


def build_model(backend, **options):
    return nn.Model(
        nn.Dense(4),
        nn.Tanh(),
        nn.Dense(2),
        loss=nn.SoftmaxCrossEntropy(),
        backend=backend,
        **options,
    )


def fit(model, x, y):
    model.fit(x, y, epochs=2, batch_size=10, validation=0.2)
    return model


@pytest.fixture(params=["pandas", "polars"])
def library(request):
    return request.param


@pytest.fixture
def on_arrays(backend):
    return fit(build_model(backend), X, Y)


@pytest.fixture
def on_frame(backend, library):
    return fit(build_model(backend), build_frame(library), build_column(library, Y))


def test_a_frame_is_the_array_of_its_numbers(on_arrays, on_frame, library):
    frame = build_frame(library)
    assert on_frame.history["train_loss"] == on_arrays.history["train_loss"]
    assert on_frame.history["validation_loss"] == on_arrays.history["validation_loss"]
    np.testing.assert_array_equal(on_frame.predict(frame), on_arrays.predict(X))
    np.testing.assert_array_equal(on_frame.predict_classes(frame), on_arrays.predict_classes(X))
    assert on_frame.evaluate(frame, build_column(library, Y)) == on_arrays.evaluate(X, Y)
    assert on_frame.feature_names == ("width", "count", "new")
    assert on_arrays.feature_names is None


def test_columns_are_taken_by_their_names(on_frame, library):
    frame = build_frame(library)
    turned = frame[["new", "width", "count"]]
    np.testing.assert_array_equal(on_frame.predict(turned), on_frame.predict(frame))
    assert on_frame.evaluate(turned, Y) == on_frame.evaluate(frame, Y)
    np.testing.assert_array_equal(on_frame.predict(X), on_frame.predict(frame))
    batches = [(turned[:30], Y[:30]), (turned[30:], Y[30:])]
    expected = on_frame.evaluate(frame, Y)
    assert on_frame.evaluate(batches) == pytest.approx(expected, rel=1e-5)
    again = on_frame.fit(turned, Y, epochs=1, validation=(turned, Y))
    assert again["validation_loss"][-1] == pytest.approx(on_frame.evaluate(frame, Y)["loss"])


@pytest.mark.parametrize("method", ["predict", "evaluate", "fit", "validation"])
def test_other_columns_are_refused_with_the_difference(on_frame, library, method):
    other = build_frame(library).rename(
        **(
            {"columns": {"count": "number"}}
            if library == "pandas"
            else {"mapping": {"count": "number"}}
        )
    )
    calls = {
        "predict": lambda: on_frame.predict(other),
        "evaluate": lambda: on_frame.evaluate(other, Y),
        "fit": lambda: on_frame.fit(other, Y),
        "validation": lambda: on_frame.fit(X, Y, validation=(other, Y)),
    }
    message = "lacks 1 column, 'count' and has unknown 1 column, 'number': expected those of fit"
    with pytest.raises(DataError, match=message):
        calls[method]()
    assert on_frame.feature_names == ("width", "count", "new")


def test_names_are_saved_with_the_model(on_frame, library, tmp_path):
    turned = build_frame(library)[["new", "width", "count"]]
    on_frame.save(tmp_path / "model.safetensors")
    for copy in (
        nn.Model.load(tmp_path / "model.safetensors"),
        on_frame.to("numpy"),
        pickle.loads(pickle.dumps(on_frame)),
    ):
        assert copy.feature_names == on_frame.feature_names
        np.testing.assert_allclose(copy.predict(turned), on_frame.predict(X), rtol=1e-5)


def test_names_that_do_not_fit_the_model_are_refused(tmp_path):
    model = fit(build_model("numpy"), build_frame("polars"), Y)
    model.feature_names = ("width", "count")
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="feature_names is .*: expected 3 strings"):
        nn.Model.load(tmp_path / "model.safetensors")


def test_a_model_of_arrays_takes_columns_in_order(on_arrays, library):
    frame = build_frame(library)
    np.testing.assert_array_equal(on_arrays.predict(frame), on_arrays.predict(X))
    on_arrays.fit(frame, Y, epochs=1)
    assert on_arrays.feature_names == ("width", "count", "new")


def test_a_failed_fit_remembers_no_names(library):
    model = build_model("numpy")
    with pytest.raises(DataError):
        model.fit(build_frame(library), Y + 5)
    assert model.feature_names is None


def test_names_that_are_numbers_are_no_names():
    pandas = pytest.importorskip("pandas")
    model = fit(build_model("numpy"), pandas.DataFrame(X), Y)
    assert model.feature_names is None
    np.testing.assert_array_equal(model.predict(pandas.DataFrame(X)), model.predict(X))


def test_frames_that_are_refused(library):
    model = build_model("numpy")
    frame = build_frame(library)
    towns = build_column(library, Y).astype(str) if library == "pandas" else pl.Series(["a"] * 40)
    with_towns = frame.assign(town=towns) if library == "pandas" else frame.with_columns(town=towns)
    with pytest.raises(DataError, match=r"in column 'town'.*nn.datasets.load\(frame, target="):
        model.fit(with_towns, Y)
    with pytest.raises(TypeError, match="need targets: pass y"):
        model.fit(frame)
    with pytest.raises(DataError, match="got dtype .*Number labels first"):
        model.fit(frame, towns)
    with pytest.raises(DataError, match="at least one sample"):
        model.fit(frame[:0], Y[:0])


def test_gaps_are_refused_with_their_row():
    pandas = pytest.importorskip("pandas")
    column = [*range(39), None]
    for frame in (
        pl.DataFrame({"a": column}),
        pandas.DataFrame({"a": pandas.array(column, dtype="Int64")}),
        pandas.DataFrame(
            {"a": pandas.array([None if v is None else v > 3 for v in column], dtype="boolean")}
        ),
        pandas.DataFrame({"a": pandas.Series(column, dtype=object)}),
    ):
        with pytest.raises(DataError, match="NaN .* first in row 39"):
            build_model("numpy").fit(frame, Y)


def test_a_lazy_frame_is_to_be_collected():
    with pytest.raises(DataError, match=r"pass x\.collect\(\)"):
        build_model("numpy").fit(build_frame("polars").lazy(), Y)


def test_several_columns_of_one_name_are_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="several columns have the same name, 'a'"):
        build_model("numpy").fit(pandas.DataFrame(X, columns=["a", "b", "a"]), Y)


@given(st.permutations(["width", "count", "new"]), st.sampled_from(["pandas", "polars"]))
def test_any_order_of_the_columns_is_the_same(names, library):
    frame = build_frame(library)
    turned = frame_to_numpy(frame[list(names)], ("width", "count", "new"))
    np.testing.assert_array_equal(turned, X)
