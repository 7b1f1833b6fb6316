"""Properties of columns: numbers in any form are read or refused, labels come back as they were."""

import string
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from drawn_examples import try_property
from hypothesis import assume
from hypothesis import strategies as st

from anyback_nn.datasets import parquet_batches
from anyback_nn.datasets.columns import MISSING_MARKERS
from anyback_nn.datasets.kinds import read_column
from anyback_nn.datasets.options import TableOptions
from anyback_nn.datasets.tables import load_table, read_table
from anyback_nn.errors import DataError

N_EXAMPLES = 30

NUMBERS = st.lists(
    st.decimals(-(10**9), 10**9, places=2) | st.integers(-(10**7), 10**7).map(Decimal),
    min_size=2,
    max_size=12,
)
UNITS_BEFORE = ("$", "€ ", "USD ", "A$", "US$ ")
UNITS_AFTER = (" kg", "%", " %", "€", " km/h", " m2", "°C", " mio. t")


@st.composite
def forms(draw):
    """Draw a function that writes a decimal number."""
    thousands = draw(st.sampled_from(["", ",", ".", " ", "\u00a0", "\u202f", "'", "\u2019"]))
    decimal = draw(st.sampled_from([mark for mark in ".," if mark != thousands]))
    before = draw(st.sampled_from(["", *UNITS_BEFORE]))
    after = "" if before else draw(st.sampled_from(["", *UNITS_AFTER]))
    minus = draw(st.sampled_from(["-", "\u2212", "\u2013", "- ", "("]))

    def write(number):
        whole, _, fraction = f"{abs(number):,}".partition(".")
        digits = whole.replace(",", thousands) + (decimal + fraction if fraction else "")
        text = f"{before}{digits}{after}"
        if number >= 0:
            return text
        return f"({text})" if minus == "(" else minus + text

    return write


def test_numbers_in_any_form_are_read_or_refused():
    @try_property(NUMBERS, forms(), max_examples=N_EXAMPLES)
    def holds(numbers, write):
        series = pl.Series("a", [write(number) for number in numbers])
        plain = series.cast(pl.Float64, strict=False)
        try:
            kind, column = read_column(series, TableOptions())
        except DataError:
            return
        assert kind.values == "numbers"
        # As written plainly it is read plainly, though a point may be one between thousands.
        expected = plain.to_numpy() if plain.null_count() == 0 else np.array(numbers, dtype=float)
        assert column.tolist() == expected.tolist()


@pytest.mark.parametrize("decimal", [".", ","])
def test_numbers_in_any_form_are_read_if_the_decimal_mark_is_given(decimal):
    @try_property(NUMBERS, forms(), max_examples=N_EXAMPLES)
    def holds(numbers, write):
        texts = [write(number) for number in numbers]
        fraction = write(Decimal("0.25"))
        assume(f"0{decimal}25" in fraction)
        series = pl.Series("a", [*texts, fraction])
        kind, column = read_column(series, TableOptions(decimal=decimal))
        assert kind.values == "numbers"
        assert column.tolist() == [*map(float, numbers), 0.25]


CHARACTERS = st.characters(categories=["L", "N", "P", "S"], include_characters=" ")
LABELS = (
    st.text(CHARACTERS, min_size=1, max_size=8)
    | st.text(string.digits + ".eE+-", min_size=1, max_size=6)
    | st.integers(-(2**63), 2**63 - 1).map(str)
    | st.floats().map(repr)
    | st.sampled_from(
        ["01", "1", "1.0", "1E2", "100", "007", "7", "inf", "True", "true", "TRUE", "+"]
    )
)


def is_label(text):
    return text == text.strip() and text not in MISSING_MARKERS


def read_labels_again(path, whole):
    """Return the labels of a file after training on it, as a whole or in parts."""
    if whole:
        options = {"target": "y", "task": "classification", "test_fraction": 0.2, "seed": 0}
        encoding = load_table(path, **options).encoding
        rows = read_table(path, encoding, target=None, with_target=True)
        return encoding.decode(rows.y).tolist()
    batches = parquet_batches(path, "y", task="classification", shuffle=False, batch_size=3)
    return [label for _, y in batches for label in batches.encoding.decode(y).tolist()]


@pytest.mark.parametrize("labels", [LABELS.filter(is_label), st.integers(-(2**63), 2**63 - 1)])
@pytest.mark.parametrize("source", ["csv", "parquet", "parts"])
def test_any_labels_come_back_as_they_were(tmp_path, source, labels):
    """Integers with all of their digits, as strings or not."""
    path = tmp_path / f"labels.{'csv' if source == 'csv' else 'parquet'}"

    @try_property(st.lists(labels, min_size=2, unique=True), max_examples=N_EXAMPLES)
    def holds(labels):
        frame = pl.DataFrame({"a": range(2 * len(labels)), "y": labels * 2})
        frame.write_csv(path) if source == "csv" else frame.write_parquet(path)
        assert read_labels_again(path, source != "parts") == [*map(str, labels * 2)]
