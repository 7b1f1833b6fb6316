"""The film: its frames, how long they are shown, and their colours."""

from itertools import pairwise

import numpy as np
from PIL import Image, ImageSequence

import anyback_nn as nn
from anyback_nn.cli import film as film_module
from anyback_nn.cli.film import Film
from anyback_nn.cli.scene import Scene
from anyback_nn.plotting.surface import distinct_colors

QUICK = ("moons", "--hidden", "4", "--learning-rate", "0.01", "--output", "run")


def read_film(path):
    """Return the frames, shape (n_frames, height, width, 3), and how long each is shown."""
    with Image.open(path) as film:
        assert film.format == "GIF"
        pairs = [
            (np.asarray(frame.convert("RGB")), frame.info["duration"])
            for frame in ImageSequence.Iterator(film)
        ]
    frames, times = zip(*pairs)
    return np.stack(frames), list(times)


def test_every_epoch_is_a_frame_and_the_last_one_is_held(program, tmp_path):
    outcome = program("train", *QUICK, "--epochs", "4", "--animate", "a.gif")
    assert outcome.status == 0
    assert outcome.out.endswith("written to run\nfilm written to a.gif\n")
    frames, times = read_film(tmp_path / "a.gif")
    assert times == [80, 80, 80, 80, 2500]
    assert all((a != b).any() for a, b in pairwise(frames))


def test_long_training_has_at_most_so_many_frames(program, tmp_path, monkeypatch):
    monkeypatch.setattr(film_module, "MOST_FRAMES", 5)
    program("train", *QUICK, "--epochs", "17", "--animate", "a.GIF")
    _, times = read_film(tmp_path / "a.GIF")
    assert times == [80, 80, 80, 80, 2500]


def test_frames_have_the_colours_of_the_predicted_classes():
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy()).build(2)
    x = np.random.default_rng(0).normal(size=(100, 2))
    y = (x[:, 0] > 0).astype(int)
    film = Film(Scene(x[:0:-1], y[:0:-1], ("left", "right")))
    model.fit(x, y, optimizer=nn.Adam(0.3), epochs=40, callbacks=[film])
    assert [frame.epoch for frame in film.frames] == list(range(41))
    last = np.asarray([*film.draw()][-1].convert("RGB")) / 255
    height, width, _ = last.shape
    # Far to the left and to the right in the plane, which fills the left half of the film.
    for column, color in zip((0.08, 0.36), distinct_colors(2)):
        patch = last[height // 4 : 3 * height // 4, int(column * width)]
        colors = np.unique(patch, axis=0, return_counts=True)
        pixel = colors[0][colors[1].argmax()]
        absorbed, expected = 1 - pixel, 1 - color
        cosine = absorbed @ expected / np.linalg.norm(absorbed) / np.linalg.norm(expected)
        assert cosine > 0.99


def test_the_last_frame_is_the_network_that_is_kept(monkeypatch):
    """Early stopping restores the parameters of the best epoch."""
    x, y = nn.datasets.make_moons(100, noise=0.1, seed=0)
    film = Film(Scene(x, y, ("0", "1")))
    model = nn.Model(nn.Dense(2), loss=nn.SoftmaxCrossEntropy())
    stopping = nn.EarlyStopping(2, min_delta=10.0, monitor="train_loss")
    model.fit(x, y, optimizer=nn.Adam(0.1), epochs=20, callbacks=[film, stopping])
    assert stopping.best_epoch == 1
    *_, best, _, last, kept = film.frames
    np.testing.assert_array_equal(kept.response, best.response)
    assert (kept.response != last.response).any()
    assert kept.title == "the network that is kept"


def test_a_continuous_target_has_a_film(program, tmp_path):
    rows = "".join(f"{i % 7},{i % 5},{i % 7 + i % 5}\n" for i in range(60))
    (tmp_path / "a.csv").write_text(f"a,b,y\n{rows}")
    words = ("--target", "y", "--task", "regression", "--hidden", "4", "--validation", "0")
    outcome = program("train", "a.csv", *words, "--epochs", "2", "--animate", "a.gif", "--json")
    assert outcome.status == 0
    assert outcome.json["epochs"] == 2
    assert read_film(tmp_path / "a.gif")[1] == [80, 80, 2500]


def test_only_gif_is_written(fails):
    err = fails("train", *QUICK, "--animate", "a.mp4", status=2)
    assert "'--animate': expected a file that ends in .gif, got a.mp4" in err


def test_a_file_is_not_replaced(fails, tmp_path):
    (tmp_path / "a.gif").write_text("mine")
    assert "a.gif exists: choose another file" in fails("train", *QUICK, "--animate", "a.gif")


def test_a_film_that_cannot_be_written_costs_no_run(program, tmp_path, monkeypatch):
    def fail(self):
        raise OSError(28, "No space left on device", "a.gif")

    monkeypatch.setattr(Film, "draw", fail)
    outcome = program("train", *QUICK, "--epochs", "1", "--animate", "a.gif")
    assert outcome.status == 1
    assert outcome.err == "error: a.gif: No space left on device\n"
    assert nn.Model.load(tmp_path / "run" / "model.safetensors").history
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_ctrl_c_in_the_film_says_that_the_run_is_complete(program, tmp_path, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Film, "draw", interrupt)
    outcome = program("train", *QUICK, "--epochs", "1", "--animate", "a.gif")
    assert outcome.status == 130
    assert outcome.err == "error: interrupted; run is complete, and a.gif was not written\n"
    assert nn.Model.load(tmp_path / "run" / "model.safetensors").history
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_the_film_of_a_resumed_run_says_where_it_begins(program, tmp_path):
    program("train", *QUICK, "--epochs", "2", "--schedule", "constant", "--checkpoint-every", "1")
    (tmp_path / "run" / "model.safetensors").unlink()
    outcome = program("train", "--resume", "run", "--epochs", "3", "--animate", "a.gif")
    assert outcome.status == 0
    assert "note: a.gif begins after epoch 2, where the run was resumed\n" in outcome.err
    assert len(read_film(tmp_path / "a.gif")[1]) == 2


def test_names_with_dollars_are_in_a_film(program, tmp_path):
    rows = "".join(f"{i % 7},{i % 5},{('$^$', '[/red]')[i % 2]}\n" for i in range(60))
    (tmp_path / "a.csv").write_text(f"$y$_\\frac,b,y\n{rows}")
    words = ("--target", "y", "--hidden", "4", "--epochs", "1")
    assert program("train", "a.csv", *words, "--animate", "a.gif").status == 0
