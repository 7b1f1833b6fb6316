"""What the fuzzers found, and some of their inputs: each is read, or refused by our errors."""

from pathlib import Path

import pytest
from fuzz_case import find_failure, make_input
from fuzz_formats import FORMATS

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_was_found_is_read_or_refused(path):
    assert find_failure(path.stem.partition("-")[0], path) is None


# Those of Parquet could end this process: they are read by `nox -s fuzz` alone.
@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"parquet"}))
def test_a_few_inputs(name, tmp_path):
    path = tmp_path / f"input{FORMATS[name].suffix}"
    for number in range(12):
        path.write_bytes(make_input(name, "tests", number))
        assert find_failure(name, path) is None, number
