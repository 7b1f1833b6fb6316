"""Confusion matrices are scikit-learn's, images are the columns of the weights."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

import anyback_nn as nn
from anyback_nn.plotting import ConfusionMatrixDisplay, WeightImagesDisplay
from anyback_nn.sklearn import MLPClassifier


def test_the_matrix_of_a_model_counts_its_classes(blobs_model, blobs):
    x, y = blobs
    display = ConfusionMatrixDisplay.from_estimator(blobs_model, x, y)
    expected = confusion_matrix(y, blobs_model.predict(x).argmax(axis=1))
    np.testing.assert_array_equal(display.confusion_matrix, expected)
    np.testing.assert_array_equal(
        [[int(text.get_text()) for text in row] for row in display.text_], expected
    )


def test_classes_that_the_rows_lack_have_rows_of_zeros(blobs_model, blobs):
    x, y = (array[blobs[1] == 1] for array in blobs)
    matrix = ConfusionMatrixDisplay.from_estimator(blobs_model, x, y).confusion_matrix
    assert matrix.shape == (3, 3)
    assert matrix[[0, 2]].sum() == 0


def test_the_matrix_of_an_estimator_has_its_labels(blobs):
    x, y = blobs[0], np.array(["a", "b", "c"])[blobs[1]]
    estimator = MLPClassifier((4,), solver="lbfgs", max_iter=9, tol=1, random_state=0).fit(x, y)
    display = ConfusionMatrixDisplay.from_estimator(estimator, x, y, normalize="true")
    expected = confusion_matrix(y, estimator.predict(x), normalize="true")
    np.testing.assert_array_equal(display.confusion_matrix, expected)
    assert list(display.display_labels) == ["a", "b", "c"]


def test_many_classes_have_no_counts():
    y = np.arange(30)
    assert ConfusionMatrixDisplay.from_predictions(y, y).text_ is None


def test_long_names_do_not_overlap():
    names = [f"a long name of class {k}" for k in range(5)]
    display = ConfusionMatrixDisplay.from_predictions(range(5), range(5), display_labels=names)
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.ax_.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_each_image_is_the_weights_of_a_unit():
    model = nn.Model(nn.Dense(5), nn.ReLU(), nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(12)
    display = WeightImagesDisplay.from_estimator(model, shape=(3, 4))
    weight = model.params[0]["weight"]
    for unit, image in enumerate(display.images):
        np.testing.assert_array_equal(image.ravel(), weight[:, unit])
    mosaic = display.image_.get_array().filled(np.nan)
    # Two columns of images, and gaps of one pixel.
    np.testing.assert_array_equal(mosaic[:3, 5:9], display.images[1])
    np.testing.assert_array_equal(mosaic[8:11, :4], display.images[4])
    assert np.isnan(mosaic[:, 4]).all()
    assert np.isnan(mosaic[3]).all()
    limit = np.abs(weight).max()
    assert display.image_.get_clim() == (-limit, limit)


def test_at_most_some_units_are_drawn():
    model = nn.Model(nn.Dense(50), loss=nn.MeanSquaredError()).build(16)
    assert WeightImagesDisplay.from_estimator(model, max_units=7).images.shape == (7, 4, 4)


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ([nn.Dense(2)], {}, r"12 inputs are no square image: pass shape="),
        ([nn.Dense(2)], {"shape": (2, 5)}, r"height \* width to be 12, got 2 \* 5"),
        ([nn.LayerNorm(), nn.Dense(2)], {}, "first layer to be Dense, got LayerNorm"),
    ],
)
def test_what_is_no_image_is_refused(layers, options, message):
    model = nn.Model(*layers, loss=nn.MeanSquaredError()).build(12)
    with pytest.raises(ValueError, match=message):
        WeightImagesDisplay.from_estimator(model, **options)
