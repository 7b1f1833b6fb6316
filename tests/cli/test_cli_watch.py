"""What the terminal shows while a network learns: its colours, its size, and when."""

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

import anyback_nn as nn
from anyback_nn.cli import watch as watch_module
from anyback_nn.cli.pixels import HalfBlocks, draw_bars
from anyback_nn.cli.scene import Scene
from anyback_nn.cli.watch import VIRIDIS, Watch
from anyback_nn.plotting.surface import distinct_colors
from anyback_nn.tree import tree_map

QUICK = ("moons", "--hidden", "4", "--epochs", "3", "--learning-rate", "0.01")
BLUE, ORANGE = distinct_colors(2)


def create_console(width=80, height=24):
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        width=width,
        height=height,
        legacy_windows=False,
        _environ={"TERM": "xterm"},
    )


@pytest.fixture
def fit():
    """A model that is sure of class 1 where the first feature is above 0, between two epochs."""
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(2)
    model.params = ({"weight": np.array([[-9.0, 9.0], [0.0, 0.0]]), "bias": np.zeros(2)},)
    model.history.rows += [
        {"epoch": 1, "train_loss": 2.0, "validation_loss": 1.5, "train_accuracy": 0.5},
        {"epoch": 2, "train_loss": 1.0, "validation_loss": 0.5, "train_accuracy": 0.75},
    ]
    return SimpleNamespace(
        model=model, history=model.history, epoch=2, last_epoch=4, stop_reason=None
    )


SCENE = Scene(np.array([[-2.0, -1.0], [2.0, 1.0]]), np.array([0, 1]), ("left", "right"))


def read_pixels(lines):
    """Return the colours of the half blocks of a frame, shape (2 n_rows, n_columns, 3)."""
    rows = []
    for line in lines:
        cells = [
            (segment.style.color.triplet, segment.style.bgcolor.triplet)
            for segment in line
            for character in segment.text
            if character == "▀"
        ]
        rows += [list(half) for half in zip(*cells)]
    return np.array(rows) / 255


def test_a_pixel_is_half_a_character():
    rgb = np.random.default_rng(0).uniform(size=(6, 5, 3))
    console = create_console()
    lines = console.render_lines(HalfBlocks(rgb), pad=False)
    assert len(lines) == 3
    np.testing.assert_allclose(read_pixels(lines), rgb, atol=0.5 / 31 + 1 / 255)


def test_the_plane_has_the_colours_of_the_predicted_classes(fit):
    console = create_console()
    pixels = read_pixels(console.render_lines(Watch(SCENE, console).draw(fit)))
    n_rows, n_columns, _ = pixels.shape
    assert n_rows == n_columns == 42
    blue, red = pixels[..., 2], pixels[..., 0]
    assert (blue[:, : n_columns // 2] > red[:, : n_columns // 2]).all()
    assert (red[:, n_columns // 2 :] > blue[:, n_columns // 2 :]).all()
    # Where the network is sure, the colour is the class's with the same hue.
    dark = watch_module.DARK
    np.testing.assert_allclose(pixels[20, 5], 0.55 * BLUE + 0.45 * dark, atol=0.03)
    np.testing.assert_allclose(pixels[20, -6], 0.55 * ORANGE + 0.45 * dark, atol=0.03)
    # The rows of data are the two brightest points, the lower left one and the upper right one.
    brightest = np.argsort(pixels.sum(axis=-1).ravel())[-2:]
    rows, columns = np.unravel_index(np.sort(brightest), pixels.shape[:2])
    assert rows[0] < 10 < 30 < rows[1]
    assert columns[1] < 10 < 30 < columns[0]


def test_a_continuous_target_is_a_surface():
    model = nn.Model(nn.Dense(1), loss=nn.MeanSquaredError()).build(2)
    model.params = ({"weight": np.array([[0.0], [1.0]]), "bias": np.zeros(1)},)
    scene = Scene(np.array([[-1.0, -1.0], [1.0, 1.0]]), np.array([-1.0, 1.0]), None)
    plane = scene.plane(40, 40)
    rgb = watch_module.paint(scene, plane, scene.predict(model, plane))
    low, high = (0.75 * VIRIDIS[i] + 0.25 * watch_module.DARK for i in (0, -1))
    np.testing.assert_allclose(rgb[-1], np.tile(low, (40, 1)), atol=0.02)
    np.testing.assert_allclose(rgb[0], np.tile(high, (40, 1)), atol=0.02)


@pytest.mark.parametrize("loss", [nn.SoftmaxCrossEntropy(), nn.MeanSquaredError()])
def test_where_a_network_that_diverges_predicts_nothing_it_is_dark(fit, loss):
    n_outputs = 2 if loss.classifies else 1
    fit.model = nn.Model(nn.Dense(n_outputs), loss=loss).build(2)
    fit.model.params = tree_map(lambda array: array * np.nan, fit.model.params)
    scene = SCENE if loss.classifies else replace(SCENE, classes=None)
    console = create_console()
    pixels = read_pixels(console.render_lines(Watch(scene, console).draw(fit)))
    assert pixels[20, 20].max() < 0.1


@pytest.mark.parametrize(
    "size", [(80, 24), (200, 60), (64, 12), (63, 24), (40, 20), (20, 7), (9, 4)]
)
@pytest.mark.parametrize("reason", [None, "validation_loss has not improved for 10 epochs"])
def test_a_frame_fits_into_the_terminal(fit, size, reason):
    fit.stop_reason = reason
    console = create_console(*size)
    lines = console.render_lines(Watch(SCENE, console).draw(fit), pad=False)
    assert len(lines) < size[1]
    assert all(sum(segment.cell_length for segment in line) <= size[0] for line in lines)
    assert "▀" in "".join(segment.text for line in lines for segment in line)


@pytest.mark.parametrize(
    ("width", "texts"),
    [
        (80, ["epoch 2/4", "1.0000", "0.5000", "accuracy", "0.7500", "■ left  ■ right", "█"]),
        (40, ["epoch 2/4", "loss 1.0000  validation 0.5000", "█"]),
    ],
)
def test_a_frame_has_the_numbers_of_the_epoch(fit, width, texts):
    console = create_console(width)
    console.print(Watch(SCENE, console).draw(fit))
    shown = console.file.getvalue()
    plain = "".join(part.partition("m")[2] for part in ("m" + shown).split("\x1b["))
    assert all(text in plain for text in texts)


def test_bars_are_as_high_as_values():
    values = [8.0, 6.0, 4.0, 3.0, 2.5, 2.0, 1.0, 0.5]
    lines = draw_bars(values, 16, 32, 3)
    levels = [sum(" ▁▂▃▄▅▆▇█".index(line[i]) for line in lines) for i in range(32)]
    expected = np.repeat(np.round(np.array(values) / 8 * 24), 2)
    np.testing.assert_array_equal(levels, [*expected, *[0] * 16])


@pytest.mark.parametrize(
    "values", [[], [float("nan")], [0.0, 0.0], [float("inf"), 1.0], [-1.0, 2.0]]
)
def test_any_values_have_bars(values):
    lines = draw_bars(values, 4, 10, 2)
    assert [len(line) for line in lines] == [10, 10]


def test_one_huge_loss_does_not_hide_the_others():
    lines = draw_bars([1e6, 2.0, 2.0, 1.0], 4, 4, 2)
    assert lines == ["↑   ", "█▄▄▂"]


def test_a_legend_says_that_a_bar_is_cut(fit):
    console = create_console()
    for loss, count in [(2.0, 0), (1e6, 2)]:
        fit.history.rows[0]["train_loss"] = loss
        fit.history.rows[1:] = [{"epoch": i, "train_loss": 1.0} for i in (2, 3, 4)]
        lines = console.render_lines(Watch(SCENE, console).draw(fit))
        text = "".join(segment.text for line in lines for segment in line)
        assert text.count("(↑ is higher)") == bool(count)
        assert len(lines) < 24


def test_only_so_many_frames_are_drawn_in_a_second(fit, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(watch_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    frames = []
    for cost, most in [(0.001, 20), (0.05, 4)]:
        picture = Watch(SCENE, create_console())
        frames.clear()

        def draw(fit, cost=cost):
            frames.append(clock[0])
            clock[0] += cost
            return ""

        monkeypatch.setattr(picture, "draw", draw)
        picture.on_train_begin(fit)
        begun = clock[0]
        while clock[0] < begun + 2:
            clock[0] += 0.004
            picture.on_batch_end(fit)
            picture.on_epoch_end(fit)
        picture.close()
        # Ten frames a second, and a tenth of the time.
        assert most - 2 <= len(frames) - 1 <= most


def test_steps_are_taken_many_in_one_call(monkeypatch):
    x, y = nn.datasets.make_moons(640, seed=0)
    calls = []
    monkeypatch.setattr(Watch, "on_batch_end", lambda self, fit: calls.append(fit.batches_done))
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy(), backend="numpy")
    scene = Scene(x, y, ("0", "1"))
    model.fit(x, y, epochs=1, batch_size=10, callbacks=[Watch(scene, create_console())])
    assert calls == [16, 32, 48, 64]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def watched(program, monkeypatch):
    """Run the program with a terminal as standard error; ``err`` is what it shows."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", Terminal())
            outcome = program(*arguments)
            return outcome._replace(err=sys.stderr.getvalue())

    return run


def test_training_is_watched_and_the_same(program, watched, tmp_path):
    outcome = watched("train", *QUICK, "--watch", "--json", "--output", "watched")
    assert outcome.status == 0
    assert json.loads(outcome.out)["epochs"] == 3
    text = outcome.err
    assert "▀" in text
    assert "epoch 0/3" in text
    assert "epoch 3/3" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    program("train", *QUICK, "--output", "plain")
    ours, expected = (load_file(tmp_path / n / "model.safetensors") for n in ("watched", "plain"))
    for name, array in expected.items():
        np.testing.assert_array_equal(ours[name], array)


def test_ctrl_c_leaves_the_terminal_whole(tmp_path):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "anyback_nn", "train", "moons", "--hidden", "4", "--watch"]
    command += ["--epochs", "100000", "--output", "run", "--checkpoint-every", "1"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", "NO_COLOR": ""}
    # Python drops the rest of an unbuffered write to a terminal when a signal comes.
    environment.pop("PYTHONUNBUFFERED", None)
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=theirs, stdout=subprocess.DEVNULL, env=environment
    )
    os.close(theirs)
    text, sent = b"", False
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
        if not sent and text.count(b"epoch") >= 2:
            process.send_signal(signal.SIGINT)
            sent = True
    os.close(ours)
    assert process.wait(timeout=60) == 130
    before, _, after = text.decode().rpartition("\x1b[?25h")
    assert "▀" in before
    assert "▀" not in after
    assert "interrupted; a checkpoint is in run" in after


def test_without_a_terminal_it_says_what_to_do(fails):
    err = fails("train", *QUICK, "--watch", status=2)
    assert "'--watch': expected a terminal, and standard error is not one" in err
    assert "--animate FILE.gif" in err


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_needed(watched, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    outcome = watched("train", *QUICK, "--watch")
    assert outcome.status == 2
    message = " ".join(outcome.err.split())
    assert "a terminal with colours (NO_COLOR or TERM says that it has none)" in message
    assert "--animate FILE.gif" in message


@pytest.mark.parametrize("option", ["--quiet", "--log"])
def test_another_output_is_refused(fails, option):
    err = fails("train", *QUICK, "--watch", option, status=2)
    assert f"{option} wants another output" in err


@pytest.mark.parametrize("option", [["--watch"], ["--animate", "a.gif"]])
def test_data_without_a_plane_are_refused(watched, tmp_path, option, sizes):
    pytest.importorskip("matplotlib")
    rows = "".join(f"{i},{i % 3},{-i},{i % 2}\n" for i in range(40))
    (tmp_path / "a.csv").write_text(f"a,b,c,y\n{rows}")
    cases = [
        (["a.csv", "--target", "y"], "two features, but a has 3"),
        ([sizes, "--target", "width,depth", "--features", "x,week"], "one target, but sizes has 2"),
    ]
    for words, message in cases:
        outcome = watched("train", *words, *option)
        assert outcome.status == 2
        assert f"expected data with {message}" in " ".join(outcome.err.split())
    words = ("a.csv", "--target", "y", "--features", "a,b", "--epochs", "1")
    assert watched("train", *words, *option).status == 0


def test_a_run_that_was_watched_resumes_as_it_is_asked_to(watched, monkeypatch):
    words = ("--hidden", "4", "--epochs", "3", "--early-stopping", "9", "--output", "run")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt = lambda self, fit: signal.raise_signal(signal.SIGINT)  # noqa: E731
    try:
        with monkeypatch.context() as patch:
            patch.setattr(nn.EarlyStopping, "on_epoch_begin", interrupt)
            for command in (("moons", *words), ("--resume", "run")):
                outcome = watched("train", *command, "--watch")
                assert outcome.status == 130
                assert "▀" in outcome.err
    finally:
        signal.signal(signal.SIGINT, before)
    outcome = watched("train", "--resume", "run", "--quiet")
    assert (outcome.status, outcome.err) == (0, "")
