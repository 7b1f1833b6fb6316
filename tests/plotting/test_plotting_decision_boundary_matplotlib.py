"""The plane has the colours of what the model predicts there."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.inspection import DecisionBoundaryDisplay as TheirDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import anyback_nn as nn
from anyback_nn.plotting import DecisionBoundaryDisplay
from anyback_nn.plotting.style import choose_colors
from anyback_nn.plotting.surface import Plane, predict_plane
from anyback_nn.sklearn import MLPClassifier, MLPRegressor


def grid_of(display):
    return np.column_stack([display.xx0.ravel(), display.xx1.ravel()])


@pytest.fixture(scope="module")
def named(blobs):
    """A frame, names of classes, and an estimator that was fitted on both."""
    x, y = blobs
    frame, labels = pd.DataFrame(x, columns=["width", "depth"]), np.array(["a", "b", "c"])[y]
    options = {"solver": "lbfgs", "random_state": 0, "max_iter": 50}
    return frame, labels, MLPClassifier((8,), **options).fit(frame, labels)


def test_the_response_is_what_the_model_predicts(blobs_model, blobs):
    display = DecisionBoundaryDisplay.from_estimator(blobs_model, *blobs, grid_resolution=30)
    expected = blobs_model.predict(grid_of(display)).reshape(30, 30, 3)
    np.testing.assert_allclose(display.response, expected, rtol=1e-12)
    low, high = blobs[0].min(axis=0), blobs[0].max(axis=0)
    assert (grid_of(display).min(axis=0) < low).all()
    assert (grid_of(display).max(axis=0) > high).all()


@pytest.mark.parametrize("labels", [2, 3])
def test_the_response_of_estimators_is_that_of_scikit_learns_display(labels, named):
    frame, y, _ = named
    rows = y < "c" if labels == 2 else slice(None)
    frame, y = frame[rows], y[rows]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, y)
    own = MLPClassifier((4,), solver="lbfgs", random_state=0, max_iter=9, tol=1).fit(frame, y)
    for estimator in (pipeline, own):
        theirs = TheirDisplay.from_estimator(
            estimator, frame, response_method="predict_proba", grid_resolution=20
        )
        response, classes = predict_plane(estimator, Plane(theirs.xx0, theirs.xx1), like=frame)
        np.testing.assert_allclose(response if labels == 3 else response[..., 1], theirs.response)
        assert classes.tolist() == ["a", "b", "c"][:labels]


def test_the_pixels_around_each_class_have_its_colour(blobs_model, blobs):
    display = DecisionBoundaryDisplay.from_estimator(blobs_model, *blobs)
    figure, ax = display.figure_, display.ax_
    for points in display.points_:
        points.remove()
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255
    for k, center in enumerate([(-3.0, 0.0), (3.0, 0.0), (0.0, 4.0)]):
        column, row = ax.transData.transform(center).astype(int)
        # A colour on white paper absorbs the same mixture of light, however pale it is.
        absorbed = 1 - pixels[len(pixels) - 1 - row, column]
        colors = 1 - choose_colors(3)
        cosines = colors @ absorbed / np.linalg.norm(colors, axis=1) / np.linalg.norm(absorbed)
        assert cosines.argmax() == k
        assert cosines[k] > 0.999


def test_along_the_boundary_both_classes_are_equally_probable(moons_model, moons):
    display = DecisionBoundaryDisplay.from_estimator(moons_model, *moons)
    (boundary,) = display.boundaries_
    points = np.concatenate(boundary.get_paths()[0].to_polygons(closed_only=False))
    probabilities = moons_model.predict(points)[:, 1]
    np.testing.assert_allclose(probabilities, 0.5, atol=0.02)


def test_samples_are_drawn_in_the_colours_of_their_classes(named):
    frame, labels, estimator = named
    display = DecisionBoundaryDisplay.from_estimator(estimator, frame, labels)
    for k, points in enumerate(display.points_):
        np.testing.assert_allclose(points.get_offsets(), frame[labels == "abc"[k]])
        assert points.get_label() == "abc"[k]
        np.testing.assert_allclose(points.get_facecolor()[0, :3], choose_colors(3)[k])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("width", "depth")


def test_the_legend_has_all_names(named):
    frame, labels, estimator = named
    names = ["_a", "b", "_c"]
    display = DecisionBoundaryDisplay.from_estimator(
        estimator, frame, labels, display_labels=names, grid_resolution=9
    )
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == names


def test_frames_of_polars_do_as_well(named):
    frame, labels, estimator = named
    ours = DecisionBoundaryDisplay.from_estimator(estimator, frame, grid_resolution=9)
    x = pl.DataFrame({name: frame[name].to_numpy() for name in frame})
    other = DecisionBoundaryDisplay.from_estimator(estimator, x, labels, grid_resolution=9)
    np.testing.assert_array_equal(other.response, ours.response)


def test_one_output_is_the_probability_of_the_second_class(moons):
    model = nn.Model(nn.Dense(1), loss=nn.BinaryCrossEntropy())
    model.fit(*moons, epochs=2)
    display = DecisionBoundaryDisplay.from_estimator(model, *moons, grid_resolution=20)
    expected = model.predict(grid_of(display))[:, 0].reshape(20, 20)
    np.testing.assert_array_equal(display.response[..., 1], expected)
    np.testing.assert_allclose(display.response.sum(axis=-1), 1.0)


def test_a_continuous_target_is_a_surface_of_values(waves_model, waves):
    display = DecisionBoundaryDisplay.from_estimator(waves_model, *waves, grid_resolution=20)
    expected = waves_model.predict(grid_of(display)).reshape(20, 20)
    np.testing.assert_allclose(display.image_.get_array(), expected)
    np.testing.assert_allclose(display.points_[0].get_array(), waves[1])
    estimator = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", max_iter=9, tol=1).fit(*waves)
    display = DecisionBoundaryDisplay.from_estimator(estimator, waves[0], grid_resolution=20)
    expected = estimator.predict(grid_of(display)).reshape(20, 20)
    np.testing.assert_allclose(display.response, expected)


def test_an_update_draws_other_predictions(moons_model, moons):
    display = DecisionBoundaryDisplay.from_estimator(moons_model, *moons, grid_resolution=40)
    fresh = DecisionBoundaryDisplay(
        xx0=display.xx0, xx1=display.xx1, response=display.response[..., ::-1], classes=[0, 1]
    ).plot()
    display.update(display.response[..., ::-1])
    np.testing.assert_array_equal(display.image_.get_array(), fresh.image_.get_array())
    assert len(display.boundaries_) == 1


def test_the_middle_of_a_pixel_is_its_point():
    plane = Plane.around(np.array([[0.0, -1.0], [2.0, 5.0]]), 7, 11)
    rows, columns = plane.locate(plane.points)
    expected = np.divmod(np.arange(77), 11)
    np.testing.assert_array_equal((rows, columns), expected)


@pytest.mark.parametrize(
    ("n_in", "n_out", "loss", "message"),
    [
        (3, 2, nn.SoftmaxCrossEntropy(), "two features"),
        (2, 3, nn.BinaryCrossEntropy(), "several labels"),
        (2, 3, nn.MeanSquaredError(), "one continuous target, got 3"),
    ],
)
def test_what_has_no_plane_is_refused(n_in, n_out, loss, message):
    model = nn.Model(nn.Dense(n_out), loss=loss).build(n_in)
    with pytest.raises(ValueError, match=message):
        DecisionBoundaryDisplay.from_estimator(model, np.eye(n_in))


def test_unknown_classes_are_refused(named):
    frame, labels, estimator = named
    with pytest.raises(ValueError, match="expected the classes .*, got .*'z'"):
        DecisionBoundaryDisplay.from_estimator(estimator, frame, np.where(labels == "a", "z", "b"))
