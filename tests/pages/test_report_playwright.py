"""Reports in Chromium: they request nothing, complain about nothing, and fit the screen."""

from __future__ import annotations

import csv

import pytest
from watched_pages import WIDTHS

from anyback_nn.cli import main

OPTIONS = ("--epochs", "12", "--hidden", "32,16", "--quiet", "--report")


def write(path, data):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*data.feature_names, "target"])
        names = getattr(data, "target_names", None)
        targets = data.target if names is None else names[data.target]
        writer.writerows([*row, target] for row, target in zip(data.data, targets))
    return path


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The reports of runs on the digits and on scikit-learn's tables."""
    from sklearn.datasets import load_breast_cancer, load_diabetes

    folder = tmp_path_factory.mktemp("reports")
    cancer = write(folder / "breast cancer.csv", load_breast_cancer())
    diabetes = write(folder / "diabetes.csv", load_diabetes(scaled=False))
    reports = {}
    for name, source, *target in (
        ("digits", "digits"),
        ("breast cancer", str(cancer), "--target", "target"),
        ("diabetes", str(diabetes), "--target", "target"),
    ):
        run = folder / name
        assert main(["train", source, *target, *OPTIONS, "--output", str(run)]) == 0
        reports[name] = run / "report.html"
    return reports


SECTIONS = {
    "digits": ("classes", "mistakes", "weights", "activity"),
    "breast cancer": ("classes", "mistakes", "importance", "weights", "activity"),
    "diabetes": ("values", "mistakes", "importance", "weights", "activity"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SECTIONS)
def test_a_report_fits_the_screen(open_page, reports, name, width, scheme):
    page = open_page(reports[name], width, scheme)
    assert page.title() == f"Report: {name}"
    for section in ("scores", "settings", "network", "training", *SECTIONS[name]):
        box = page.locator(f"section#{section}").bounding_box()
        assert box["height"] > 80, section
    assert "mathdefault" not in page.content()
    sizes = page.evaluate(
        """() => [...document.querySelectorAll("figure svg text")].map(text =>
            parseFloat(getComputedStyle(text).fontSize)
            * text.ownerSVGElement.getScreenCTM().a)"""
    )
    assert len(sizes) > 50
    assert min(sizes) > 8.5  # CSS pixels, on a telephone too


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_have_the_colors_of_the_page(open_page, reports, scheme):
    page = open_page(reports["breast cancer"], scheme=scheme)
    ink, labels = page.evaluate(
        """() => [getComputedStyle(document.body).color,
            [...document.querySelectorAll("figure svg text")].map(t => getComputedStyle(t).fill)]"""
    )
    assert set(labels) == {ink}
    assert ink == ("rgb(27, 31, 36)" if scheme == "light" else "rgb(230, 233, 237)")


def test_a_report_is_small(reports):
    assert all(path.stat().st_size < 1_000_000 for path in reports.values())
