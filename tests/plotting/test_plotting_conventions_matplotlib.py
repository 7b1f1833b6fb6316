"""All displays alike: where they draw, what they leave alone, and what they say."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot, rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import anyback_nn as nn
from anyback_nn import plotting
from anyback_nn.errors import AnybackError
from anyback_nn.plotting.style import choose_colors
from anyback_nn.plotting.surface import PETROFF
from anyback_nn.sklearn import MLPClassifier

DRAW = {
    "LearningCurvesDisplay": lambda cls, m, x, y, ax: cls.from_estimator(m, ax=ax),
    "DecisionBoundaryDisplay": lambda cls, m, x, y, ax: cls.from_estimator(m, x, y, ax=ax),
    "ConfusionMatrixDisplay": lambda cls, m, x, y, ax: cls.from_estimator(m, x, y, ax=ax),
    "ActivationsDisplay": lambda cls, m, x, y, ax: cls.from_activations(ax=ax),
    "WeightImagesDisplay": lambda cls, m, x, y, ax: cls.from_estimator(m, shape=(1, 2), ax=ax),
    "NetworkDiagramDisplay": lambda cls, m, x, y, ax: cls.from_estimator(m, ax=ax),
    "GradientFlowDisplay": lambda cls, m, x, y, ax: cls.from_estimator(m, x, y, ax=ax),
}


@pytest.fixture(params=DRAW)
def draw(request, moons_model, moons):
    """Draw each display in turn."""
    cls = getattr(plotting, request.param)
    return lambda ax=None: DRAW[request.param](cls, moons_model, *moons, ax)


def test_every_display_is_tested():
    assert set(DRAW) == {name for name in dir(plotting) if name.endswith("Display")}


def test_a_display_draws_on_given_axes_and_elsewhere_in_a_new_figure(draw):
    ax = Figure().subplots()
    display = draw(ax)
    assert (display.ax_, display.figure_) == (ax, ax.figure)
    assert not pyplot.get_fignums()
    display.plot()
    assert display.figure_ is not ax.figure
    assert len(pyplot.get_fignums()) == 1


def test_a_display_can_be_saved_in_any_style(draw, tmp_path):
    with pyplot.style.context(["dark_background", "ggplot"]):
        draw().figure_.savefig(tmp_path / "a.svg")
    ElementTree.parse(tmp_path / "a.svg")


def test_texts_do_not_overlap_nothing_is_shown_and_the_settings_are_left(draw, monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda: pytest.fail("shown"))
    before = dict(pyplot.rcParams)
    figure = draw().figure_
    figure.canvas.draw()
    assert dict(pyplot.rcParams) == before
    texts = [
        text
        for ax in figure.axes
        for text in [ax.title, *ax.texts, *(list_tick_labels(ax) if ax.axison else [])]
        if text.get_text()
    ]
    boxes = [text.get_window_extent().padded(-1) for text in texts]
    assert boxes
    for i, box in enumerate(boxes):
        overlapping = [t.get_text() for t, other in zip(texts, boxes) if box.overlaps(other)]
        assert overlapping == [texts[i].get_text()]


BROKEN = ["$\\foo{x_^$ [/red]", "5 $", r"\$"]


def list_drawn(figure):
    """List the texts of a figure as they are drawn, which fails for formulas that are broken."""
    figure.canvas.draw()
    return {
        text._preprocess_math(text.get_text())[0]
        for text in figure.findobj(Text)
        if text.get_text() and text.get_visible()
    }


def test_names_with_dollars_are_drawn_as_they_are(blobs_model, blobs):
    x, y = blobs
    columns = ["$y$_\\frac", "a$"]
    frame = pd.DataFrame(x, columns=columns)
    names = np.array(BROKEN)
    estimator = MLPClassifier((2,), solver="lbfgs", max_iter=3, tol=9).fit(frame, names[y])
    boundary = plotting.DecisionBoundaryDisplay.from_estimator(
        estimator, frame, names[y], grid_resolution=9
    )
    assert {*BROKEN, *columns} <= list_drawn(boundary.figure_)
    matrix = plotting.ConfusionMatrixDisplay.from_estimator(
        blobs_model, x, y, display_labels=BROKEN
    )
    assert {*BROKEN} <= list_drawn(matrix.figure_)
    curves = plotting.LearningCurvesDisplay.from_history([{"epoch": 1, "train_$^$": 1.0}])
    assert "$^$" in list_drawn(curves.figure_)
    for parses in True, False:
        with rc_context({"text.parse_math": parses}):
            layer = plotting.ActivationsDisplay.from_activations({"$^$": nn.ReLU()}, z=[0.0, 1.0])
            assert "$^$" in list_drawn(layer.figure_)


def list_tick_labels(ax):
    """List the labels of the ticks that are drawn."""
    return [
        tick.label1 if tick.label1.get_visible() else tick.label2
        for axis in (ax.xaxis, ax.yaxis)
        for tick in axis._update_ticks()
    ]


def test_colours_are_those_of_the_style_if_it_has_own_ones():
    assert choose_colors(2).tolist() == [list(to_rgb(f"#{n:06x}")) for n in PETROFF[:2]]
    with rc_context({"axes.prop_cycle": pyplot.cycler(color=["red", "lime"])}):
        assert choose_colors(2).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert len(np.unique(choose_colors(30), axis=0)) == 30


def test_without_matplotlib_the_message_says_how_to_get_it(moons_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(AnybackError, match=r"pip install 'anyback-nn\[plot\]'"):
        plotting.LearningCurvesDisplay.from_estimator(moons_model)


def test_without_scikit_learn_a_confusion_matrix_says_how_to_get_it_when_it_is_drawn():
    code = """
import sys
sys.modules["sklearn"] = None
import anyback_nn as nn
display = nn.plotting.ConfusionMatrixDisplay
for draw in display, lambda: display.from_predictions([0, 1], [0, 1]):
    try:
        draw()
    except nn.AnybackError as error:
        print(error)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert output.count(b"pip install 'anyback-nn[sklearn,plot]'") == 2


def test_matplotlib_is_imported_when_something_is_drawn():
    code = (
        "import sys, anyback_nn as nn; nn.plotting.LearningCurvesDisplay; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_panels_need_axes_of_a_grid():
    ax = Figure().add_axes((0.1, 0.1, 0.8, 0.8))
    with pytest.raises(ValueError, match=r"axes of figure.subplots\(\)"):
        plotting.ActivationsDisplay.from_activations(["relu"], ax=ax)


def test_targets_that_do_not_fit_are_refused(moons_model, moons):
    x, y = moons
    boundary = plotting.DecisionBoundaryDisplay
    with pytest.raises(ValueError, match="a target for each of the 200 samples, got 5"):
        boundary.from_estimator(moons_model, x, y[:5], grid_resolution=9)
    names = np.array(["no", "yes"])[y]
    for display in boundary, plotting.ConfusionMatrixDisplay:
        with pytest.raises(ValueError, match=r"expected class indices, .* got '(no|yes)'"):
            display.from_estimator(moons_model, x, names)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (object(), "got object. If it is one, fit it first"),
        (type("Pipeline", (), {"steps": []})(), "Pass its last step"),
    ],
)
def test_what_is_no_model_is_refused(estimator, message):
    with pytest.raises(TypeError, match=message):
        plotting.NetworkDiagramDisplay.from_estimator(estimator)


def test_a_model_without_parameters_is_refused():
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    with pytest.raises(AnybackError, match="no parameters yet"):
        plotting.LearningCurvesDisplay.from_estimator(model)
