"""Commands that write a page replace nothing else."""

import pytest


@pytest.fixture
def run(program, tmp_path):
    """A run in the folder ``run`` whose data are ``t.csv``; ``link.html`` leads to these."""
    rows = "".join(f"{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(f"x,z,kind\n{rows}", encoding="utf-8")
    options = ("--target", "kind", "--hidden", "2", "--epochs", "1", "--output", "run")
    assert program("train", "t.csv", *options).status == 0
    (tmp_path / "link.html").symlink_to("t.csv")
    return "run"


@pytest.mark.parametrize(
    "file", ["run/model.safetensors", "run/settings.json", "t.csv", "link.html", "new.pdf"]
)
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("explain", "run"), "--html"),
        (("report", "run"), "--output"),
        (("play", "t.csv", "--target", "kind"), "--output"),
    ],
    ids=["explain", "report", "play"],
)
def test_what_is_not_named_like_a_page_is_refused(fails, run, words, option, file):
    message = fails(*words, option, file, "--force", status=2)
    assert f"'{option}': expected a file that ends in .html, got {file}" in " ".join(
        message.split()
    )


@pytest.mark.parametrize(
    "words", [("explain", "run", "--html"), ("play", "t.csv", "--target", "kind", "--output")]
)
def test_folders_that_are_missing_are_created(program, run, tmp_path, words):
    assert program(*words, "new/deep/PAGE.HTM").status == 0
    assert (tmp_path / "new/deep/PAGE.HTM").read_text().startswith("<!doctype html>")
