"""Numbers that go wrong: where it began, and training that goes back and tries again."""

import pickle

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.training.resume import list_files

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value")

X, Y = (to_numpy(array) for array in nn.datasets.make_moons(64, noise=0.1, seed=0))
TARGETS = Y.astype("float64") * 2.0 - 1.0
FIT = {"batch_size": 16, "progress": False}


def regressor(backend, *layers, **options):
    layers = layers or (nn.Dense(8), nn.Tanh(), nn.Dense(1))
    return nn.Model(*layers, loss=nn.MeanSquaredError(), backend=backend, **options)


class Square(nn.Layer):
    def forward(self, params, x, context=nn.PREDICTION):
        return x * x, x

    def backward(self, params, cache, dy):
        return 2.0 * cache * dy, {}


def test_the_error_names_the_layer_whose_outputs_overflow(backend):
    # 1e20 squared is beyond float32.
    layers = nn.Dense(1, initializer=nn.Constant(1e20)), Square(), nn.Dense(1)
    with pytest.raises(nn.DivergenceError, match=r"It began in layer 1 \(Square\)") as caught:
        regressor(backend, *layers).fit(X + 5.0, TARGETS, epochs=1, **FIT)
    error = caught.value
    assert (error.epoch, error.step, error.layer) == (1, 1, "layer 1 (Square)")
    norms = error.norms
    assert [*norms] == ["layer 0 (Dense)", "layer 1 (Square)", "layer 2 (Dense)"]
    # Both weights are 1e20, the bias is 0.
    assert norms["layer 0 (Dense)"]["parameters"] == pytest.approx(2**0.5 * 1e20)
    assert np.isfinite(norms["layer 0 (Dense)"]["outputs"])
    assert norms["layer 1 (Square)"]["outputs"] == np.inf
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.layer, copy.norms.keys()) == (str(error), error.layer, norms.keys())


def test_the_step_in_which_parameters_grew_is_found_again(backend):
    model = regressor(backend, nn.Dense(4), nn.Dense(1))
    with pytest.raises(nn.DivergenceError) as caught:
        model.fit(X, TARGETS, epochs=60, optimizer=nn.GradientDescent(30.0), **FIT)
    error = caught.value
    assert error.layer in ("layer 0 (Dense)", "layer 1 (Dense)")
    assert error.epoch == len(model.history) + 1
    assert all(np.isfinite(norm["parameters"]) for norm in error.norms.values())
    assert "The model has the parameters from the start of that epoch" in str(error)
    assert all(np.all(np.isfinite(to_numpy(array))) for array in model.training.params)


def test_an_iterable_is_not_iterated_over_again():
    class Once:
        count = 0

        def __iter__(self):
            self.count += 1
            yield X, TARGETS * 1e30

    batches = Once()
    with pytest.raises(nn.DivergenceError) as caught:
        regressor("numpy").fit(batches, optimizer=nn.GradientDescent(1e20), epochs=2)
    assert caught.value.layer is None
    assert batches.count <= 3  # with the look at the first batch


def test_a_loss_that_rises_far_is_an_error(backend):
    model = regressor(backend, nn.Dense(1))
    with pytest.raises(nn.DivergenceError, match=r"the loss rose to .* times that of the first"):
        model.fit(X, TARGETS, epochs=99, optimizer=nn.GradientDescent(1.9), **FIT)
    assert all(row["train_loss"] < 1e6 for row in model.history)


def test_early_stopping_goes_on_and_restores_the_best_epoch():
    model = regressor("numpy", nn.Dense(1))
    stopping = nn.EarlyStopping(6, monitor="train_loss")
    optimizer = nn.GradientDescent(1.6)
    history = model.fit(X, TARGETS, epochs=30, optimizer=optimizer, callbacks=[stopping], **FIT)
    assert max(history["train_loss"]) > 1000.0 * history["train_loss"][0]
    assert stopping.best_epoch == 1


# Rollback ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [30.0, nn.ExponentialDecay(30.0)], ids=repr)
def test_a_rollback_trains_with_a_smaller_rate(backend, rate):
    model = regressor(backend, nn.Dense(4), nn.Dense(1))
    with pytest.warns(UserWarning, match="is tried again with 0.25 times") as warned:
        history = model.fit(
            *(X, TARGETS),
            epochs=8,
            optimizer=nn.GradientDescent(rate),
            on_divergence="rollback",
            **FIT,
        )
    count = sum("tried again" in str(warning.message) for warning in warned)
    assert history["epoch"] == [*range(1, 9)]
    schedule = model.training.optimizer.schedule
    assert schedule(0) == pytest.approx(30.0 * 0.25**count)
    assert history["train_loss"][-1] < 1.0
    # It is a part of the file, as any other rate.
    assert model.to("numpy").training.optimizer == model.training.optimizer


def test_rollbacks_are_bounded(backend):
    model = regressor(backend, nn.Dense(1))
    with (
        pytest.warns(UserWarning, match="is tried again") as warned,
        pytest.raises(nn.DivergenceError, match="epoch"),
    ):
        model.fit(
            *(X, TARGETS),
            epochs=3,
            optimizer=nn.GradientDescent(1e12),
            on_divergence="rollback",
            **FIT,
        )
    assert len(warned) == 5
    assert np.all(np.isfinite(to_numpy(model.predict(X))))


def test_no_rate_helps_if_the_first_loss_is_infinite():
    with pytest.raises(nn.DivergenceError, match="standardise them"):
        regressor("numpy").fit(X * 1e30, TARGETS * 1e38, epochs=1, on_divergence="rollback", **FIT)


def test_a_run_that_was_rolled_back_resumes(tmp_path):
    def train(model, **options):
        options = {"epochs": 6, "on_divergence": "rollback", **FIT, **options}
        return model.fit(X, TARGETS, optimizer=nn.GradientDescent(20.0), **options)

    model, resumed = (regressor("numpy", nn.Dense(4), nn.Dense(1)) for _ in range(2))
    with pytest.warns(UserWarning, match="tried again"):
        train(model, callbacks=[nn.Checkpoint(tmp_path / "whole", every=1, keep=9)])
    train(resumed, resume=list_files(tmp_path / "whole")[2])
    for ours, theirs in zip(resumed.training.params, model.training.params):
        np.testing.assert_array_equal(ours, theirs)


def test_an_unknown_action():
    with pytest.raises(ValueError, match="on_divergence: expected 'stop' or 'rollback', got 'go'"):
        regressor("numpy").fit(X, TARGETS, on_divergence="go")


# Vanishing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "index"),
    [
        # All units are negative before ReLU.
        ([nn.Dense(4, initializer=nn.Constant(-9.0)), nn.ReLU(), nn.Dense(1)], 0),
        # The product of a hundred derivatives of at most a quarter is below float32.
        ([nn.Dense(2), *[nn.Sigmoid(), nn.Dense(2)] * 120, nn.Dense(1)], 0),
    ],
    ids=["dead", "deep"],
)
def test_a_layer_whose_gradients_vanish_is_named(backend, layers, index):
    model = regressor(backend, *layers)
    with pytest.warns(UserWarning, match=rf"layer {index} \(Dense\) has not changed in its first"):
        model.fit(X + 5.0, TARGETS, epochs=2, optimizer=nn.GradientDescent(1e-3), **FIT)


def test_a_network_that_learns_gives_no_warning(backend):
    regressor(backend).fit(X, TARGETS, epochs=2, **FIT)
