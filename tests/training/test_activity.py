"""Statistics of layers: against NumPy by hand, and that recording them changes nothing."""

from __future__ import annotations

import csv
import warnings

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.testing import assert_close
from anyback_nn.training.activity import N_ROWS, STATISTICS
from anyback_nn.tree import tree_leaves

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(40, 3)), RANDOM.normal(size=(40, 2))


def fit(backend, *layers, log=None, loss=None, x=X, y=Y, dtype="float32", **options):
    model = nn.Model(*layers, loss=loss or nn.MeanSquaredError(), backend=backend, dtype=dtype)
    settings = {"epochs": 1, "batch_size": 10, "callbacks": [log] if log else [], **options}
    model.fit(x, y, optimizer=nn.GradientDescent(0.1), **settings)
    return model


def norm(*arrays):
    return np.sqrt(sum(np.sum(array**2) for array in arrays))


def test_the_statistics_are_those_computed_by_hand(backend, finest):
    log = nn.ActivityLog(every=1)
    layers = (nn.Dense(4), nn.Sigmoid(), nn.Dense(5), nn.ReLU(), nn.Dense(2))
    model = fit(backend, *layers, log=log, epochs=1, dtype=finest)
    before = nn.Model(*layers, loss=nn.MeanSquaredError(), backend="numpy", dtype=finest).build(3)
    first, _, second, _, third = (
        {name: to_numpy(array) for name, array in layer.items()} for layer in model.params
    )
    z1 = X @ first["weight"] + first["bias"]
    a1 = 1 / (1 + np.exp(-z1))
    z2 = a1 @ second["weight"] + second["bias"]
    a2 = np.maximum(z2, 0)
    out = a2 @ third["weight"] + third["bias"]
    d_out = 2 * (out - Y) / Y.size
    d_a2 = d_out @ third["weight"].T
    d_z2 = d_a2 * (z2 > 0)
    d_a1 = d_z2 @ second["weight"].T
    d_z1 = d_a1 * a1 * (1 - a1)
    outputs, slopes = (z1, a1, z2, a2, out), (d_z1, d_a1, d_z2, d_a2, d_out)
    expected = [
        {"mean": y.mean(), "std": y.std(), "output_gradient": norm(dy)}
        for y, dy in zip(outputs, slopes)
    ]
    expected[1] |= {"dead": 0.0, "saturated": np.mean(a1 * (1 - a1) < 0.01)}
    expected[3] |= {"dead": np.mean((z2 <= 0).all(axis=0))}
    for number, x, dz in (0, X, d_z1), (2, a1, d_z2), (4, a2, d_out):
        now = [*map(to_numpy, tree_leaves(model.params[number]))]
        then = [*map(to_numpy, tree_leaves(before.params[number]))]
        expected[number] |= {
            "gradient": norm(x.T @ dz, dz.sum(axis=0)),
            "parameters": norm(*now),
            "update": norm(*(a - b for a, b in zip(now, then))) / norm(*then),
        }
    assert len(log.rows) == len(expected)
    for number, (row, values) in enumerate(zip(log.rows, expected)):
        about = {"epoch": 1, "layer": number, "kind": type(layers[number]).__name__}
        assert row == about | {k: pytest.approx(v, rel=2e-5, abs=1e-6) for k, v in values.items()}


def test_saturated_outputs_are_within_a_hundredth_of_the_range_from_a_limit(backend):
    x = np.linspace(-9, 9, 100)[:, None]
    for layer, limit, width in (nn.Sigmoid(), 0.5, 0.5), (nn.Tanh(), 0.0, 1.0):
        log = nn.ActivityLog()
        fit(backend, layer, nn.Dense(1), log=log, x=x, y=x)
        y = 1 / (1 + np.exp(-x)) if width == 0.5 else np.tanh(x)
        near = np.abs(y - limit) > 0.98 * width
        assert log.rows[0]["saturated"] == pytest.approx(near.mean(), abs=0.011)
        assert log.rows[0]["dead"] == 0.0


def test_units_that_are_never_active_are_dead(backend):
    log = nn.ActivityLog()
    model = nn.Model(nn.Dense(4), nn.ReLU(), nn.Dense(2), loss="mean_squared_error").build(3)
    params = [{name: np.array(to_numpy(a)) for name, a in layer.items()} for layer in model.params]
    params[0]["bias"][:3] = -100.0
    model = model.to(backend)
    model.params = params
    model.fit(X, Y, epochs=1, callbacks=[log])
    assert [row.get("dead") for row in log.rows] == [None, 0.75, None]


def test_parameters_that_were_all_0_have_changed_by_their_size(backend):
    for y, first in (Y, 1.0), (0 * Y, 0.0):  # without an error, nothing is learned
        log = nn.ActivityLog(every=1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "layer 0")
            fit(backend, nn.Dense(2, initializer=nn.Zeros()), log=log, y=y, epochs=2)
        updates = [row["update"] for row in log.rows]
        assert updates[0] == pytest.approx(first)
        assert (0 < updates[1] < 1) == bool(first)


def test_what_a_layer_lacks_is_left_out(backend, tmp_path):
    log = nn.ActivityLog()
    layers = (nn.Dense(4), nn.Softmax(), nn.LeakyReLU(), nn.BatchNorm(), nn.Dropout(0.5))
    fit(backend, *layers, nn.Residual(nn.Dense(4), nn.Tanh()), nn.Dense(2), log=log)
    always = {"epoch", "layer", "kind", "mean", "std", "output_gradient"}
    learned = {"gradient", "parameters", "update"}
    expected = [learned, set(), {"dead"}, learned, set(), learned, learned]
    assert [set(row) - always for row in log.rows] == expected
    log.to_csv(tmp_path / "activity.csv")
    with open(tmp_path / "activity.csv", newline="", encoding="utf-8") as file:
        lines = [*csv.DictReader(file)]
    assert [*lines[0]] == ["epoch", "layer", "kind", *STATISTICS]
    assert [{k: v for k, v in line.items() if v} for line in lines] == [
        {name: str(value) for name, value in row.items()} for row in log.rows
    ]


def test_recording_does_not_change_what_is_learned(backend):
    layers = (nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.5), nn.Dense(2))
    models = [
        fit(backend, *layers, log=log, epochs=3, validation=0.2)
        for log in (None, nn.ActivityLog(every=1))
    ]
    plain, recorded = ((model.params, model.training.state) for model in models)
    for a, b in zip(tree_leaves(plain), tree_leaves(recorded)):
        assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("every", "n_rows", "options", "expected"),
    [
        (2, 40, {"epochs": 5}, [2, 4, 5]),
        (None, 40, {"epochs": 5}, [5]),
        # 128 steps are 64 epochs of 2, or 128 of 1; 64 times all rows are 64 epochs.
        (None, 40, {"epochs": 70, "batch_size": 10}, [64, 70]),
        (None, 40, {"epochs": 70, "batch_size": 20}, [64, 70]),
        (None, 40, {"epochs": 260, "batch_size": 40}, [128, 256, 260]),
        # 64 times 128 rows are 3 epochs of 3,000.
        (None, 3000, {"epochs": 7}, [3, 6, 7]),
    ],
)
def test_the_interval(every, n_rows, options, expected):
    log = nn.ActivityLog(every)
    x = np.resize(X, (n_rows, 3))
    fit("numpy", nn.Dense(2), log=log, x=x, y=x[:, :2], **options)
    assert [row["epoch"] for row in log.rows] == expected


def test_the_epoch_that_ends_training_is_recorded():
    class Stop(nn.Callback):
        def on_epoch_end(self, fit):
            if fit.epoch == 3:
                fit.stop()

    log = nn.ActivityLog(every=2)
    fit("numpy", nn.Dense(2), callbacks=[log, Stop()], epochs=9)
    assert [row["epoch"] for row in log.rows] == [2, 3]
    assert "update" in log.rows[0]
    assert "update" not in log.rows[1]  # nobody knew that it would be the last


def test_a_resumed_run_has_the_records_of_one_without_a_break(backend, tmp_path):
    def train(epochs, folder):
        log = nn.ActivityLog(every=2)
        callbacks = [log, nn.Checkpoint(tmp_path / folder, every=1)]
        layers = (nn.Dense(4), nn.ReLU(), nn.Dense(2))
        fit(backend, *layers, callbacks=callbacks, epochs=epochs, resume=True)
        return log.rows

    assert [row["epoch"] for row in train(3, "broken")] == [2] * 3 + [3] * 3
    rows = train(5, "broken")
    assert [row["epoch"] for row in rows] == [2] * 3 + [3] * 3 + [5] * 3
    whole = train(5, "whole")
    assert rows[-3:] == whole[-3:]
    assert rows[:3] == whole[:3]


def test_records_continue_in_a_later_call_and_begin_again_with_another_model():
    log = nn.ActivityLog(every=1)
    model = fit("numpy", nn.Dense(2), log=log, epochs=2)
    model.fit(X, Y, epochs=1, callbacks=[log])
    assert [row["epoch"] for row in log.rows] == [1, 2, 3]
    fit("numpy", nn.Dense(2), log=log, epochs=1)
    assert [row["epoch"] for row in log.rows] == [1]


def test_batches_of_an_iterable_need_rows_for_validation():
    batches = [(X, Y)]
    with pytest.raises(ValueError, match="pass arrays x and y, or arrays for validation"):
        fit("numpy", nn.Dense(2), log=nn.ActivityLog(), x=batches, y=None)
    log = nn.ActivityLog(every=1)
    fit("numpy", nn.Dense(2), log=log, x=batches, y=None, validation=(X, Y), epochs=2)
    assert [row["epoch"] for row in log.rows] == [1, 2]


def test_estimators_record_too():
    sklearn = pytest.importorskip("anyback_nn.sklearn")
    log = nn.ActivityLog(every=2)
    estimator = sklearn.MLPRegressor(
        hidden_layer_sizes=(4,), max_iter=4, callbacks=[log], tol=0.0, random_state=0
    )
    with pytest.warns(UserWarning, match="Maximum iterations"):
        estimator.fit(X, Y)
    assert [row["epoch"] for row in log.rows] == [2] * 3 + [4] * 3


def test_iterations_of_lbfgs_are_epochs():
    sklearn = pytest.importorskip("anyback_nn.sklearn")
    for every, recorded in (4, [4]), (None, []):
        log = nn.ActivityLog(every)
        estimator = sklearn.MLPRegressor(
            hidden_layer_sizes=(), solver="lbfgs", callbacks=[log], random_state=0
        )
        estimator.fit(X, Y)
        assert 4 < estimator.n_iter_ < 8  # it has converged
        assert [row["epoch"] for row in log.rows] == [*recorded, estimator.n_iter_]


def test_the_rows_are_drawn_once_each_and_by_the_seed():
    from anyback_nn.inputs.batches import array_source
    from anyback_nn.inputs.checks import Samples

    x = np.arange(1000.0)[:, None]
    source = array_source(Samples(x, x, None), nn.select("numpy"), "float64", seed=0)
    rows = source.sample(N_ROWS, 0).x[:, 0]
    assert len({*rows}) == len(rows) == N_ROWS
    assert rows.max() > 900 > 100 > rows.min()
    assert np.array_equal(rows, source.sample(N_ROWS, 0).x[:, 0])
    assert not np.array_equal(rows, source.sample(N_ROWS, 1).x[:, 0])
    assert len(source.sample(2000, 0).x) == 1000
