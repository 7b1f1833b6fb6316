"""What is unusual inside of a network is said, and what is usual is not."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.errors import CheckpointError
from anyback_nn.report import read_activity
from anyback_nn.report.activity import describe_activity, leave_out_silent, list_warnings


def record(*layers, x=None, prepare=None, epochs=20, optimizer=None, **options):
    """Train on moons, and return what was recorded in the last epoch."""
    own, y = nn.datasets.make_moons(300, noise=0.1, seed=0)
    layers = (*layers, nn.Dense(2))
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), seed=1, dtype="float64").build(2)
    if prepare is not None:
        params = [
            {name: np.array(array) for name, array in layer.items()} for layer in model.params
        ]
        prepare(params)
        model.params = params
    log = nn.ActivityLog(every=1)
    x = own if x is None else x(own)
    rule = optimizer or nn.Adam(0.005)
    model.fit(x, y, epochs=epochs, optimizer=rule, callbacks=[log], **options)
    return [row for row in log.rows if row["epoch"] == log.rows[-1]["epoch"]]


def test_a_healthy_network_has_no_warning():
    for activation in nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU():
        layers = (nn.Dense(16), activation, nn.Dense(16), activation)
        assert list_warnings(record(*layers)) == []


def test_a_network_with_dead_units_has_one():
    def kill(params):
        params[0]["bias"][1:] = -100.0

    (warning,) = list_warnings(record(nn.Dense(16), nn.ReLU(), prepare=kill))
    assert warning.startswith("94% of the units of layer 1\u00a0ReLU are dead")
    assert "smaller learning rate" in warning
    assert "leaky_relu" in warning


def test_saturated_outputs_have_one():
    rows = record(nn.Dense(16), nn.Tanh(), x=lambda x: 1000 * x, epochs=1)
    assert any("of layer 1\u00a0Tanh are saturated" in warning for warning in list_warnings(rows))


def test_a_gradient_that_vanishes_or_explodes_has_one():
    def shrink(params):
        for layer in params[::2]:
            layer["weight"] *= 0.01

    def grow(params):
        for layer in params[2::2]:
            layer["weight"] *= 60

    layers = [layer for _ in range(4) for layer in (nn.Dense(8), nn.Identity())]
    still = {"epochs": 1, "optimizer": nn.GradientDescent(1e-7)}
    vanishing = record(*layers, prepare=shrink, **still)
    exploding = record(*layers, prepare=grow, **still)
    assert "the gradient vanishes on the way back: that of layer 0" in list_warnings(vanishing)[0]
    assert "the gradient explodes on the way back: that of layer 0" in list_warnings(exploding)[-1]


def test_parameters_that_do_not_settle_have_one():
    rows = record(nn.Dense(4), nn.Tanh(), epochs=1, optimizer=nn.Adam(1.0))
    assert any("has not settled" in warning for warning in list_warnings(rows))


def test_layers_that_do_nothing_in_a_prediction_are_left_out():
    rows = record(nn.Dense(4), nn.Dropout(0.5), nn.ReLU(), nn.Identity(), epochs=2)
    assert [row["kind"] for row in leave_out_silent(rows)] == ["Dense", "ReLU", "Dense"]


def test_rows_that_lack_values_and_odd_kinds_of_layers_are_described():
    rows = [
        {"epoch": 1, "layer": n, "kind": "<b>\x1b", "gradient": 1.0, "parameters": 2.0}
        for n in range(2)
    ]
    section = describe_activity(rows)
    assert [row[0] for row in section.tables[0].rows] == ["0\u00a0<b>\\x1b", "1\u00a0<b>\\x1b"]
    assert section.warnings == []
    assert "0\u00a0&lt;b&gt;\\x1b" in section.pictures[0].svg


def test_what_was_written_is_read(tmp_path):
    log = nn.ActivityLog(every=1)
    x, y = nn.datasets.make_moons(60, seed=0)
    model = nn.Model(nn.Dense(3), nn.ReLU(), nn.Dense(2), loss="softmax_cross_entropy")
    model.fit(x, y, epochs=2, callbacks=[log])
    log.to_csv(tmp_path / "activity.csv")
    assert read_activity(tmp_path / "activity.csv") == log.rows


@pytest.mark.parametrize(
    "text", ["epoch,layer,kind\none,2,x\n", "a,b\n1,2\n", "\x00\xff", "junk", ""]
)
def test_a_file_that_is_damaged_is_refused(tmp_path, text):
    path = tmp_path / "activity.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"activity\.csv is not as train wrote it"):
        read_activity(path)
