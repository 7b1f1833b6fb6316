"""Encoded features are written as the columns of the data that they were."""

import csv

import numpy as np
import pytest
from report_subjects import train, write_table

from anyback_nn.datasets import load, read
from anyback_nn.report.columns import find_image_shape, list_columns, list_features


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("table"))


def test_rows_are_written_as_they_were_read(table):
    dataset = load(table, target="label", drop="price")
    x = read(table, dataset.encoding, with_target=False).x
    with open(table, encoding="utf-8") as file:
        lines = [*csv.DictReader(file)]
    columns = list_columns(dataset.encoding)
    for features, line in zip(x, lines):
        for column in columns:
            written = column.write(features)
            if column.name == "day":
                parts = dict(part.split(" ") for part in written.split(", "))
                day = np.datetime64(line["day"])
                assert int(parts["month"]) == day.astype("datetime64[M]").astype(int) % 12 + 1
            elif column.name == "größe 中":
                assert written == line[column.name]
            else:
                assert float(written) == pytest.approx(float(line[column.name]), abs=2e-4)


def test_features_have_the_names_of_columns_and_categories(table):
    encoding = load(table, target="label").encoding
    names = list_features(encoding)
    assert len(names) == encoding.n_features
    assert {"price", "day, month", "größe 中 = <b>"} <= set(names)
    (town,) = (column for column in list_columns(encoding) if column.name == "größe 中")
    assert [names[i] for i in range(town.start, town.stop)] == town.list_names()


def test_a_category_that_was_not_seen_in_training_is_written_so(table):
    encoding = load(table, target="label").encoding
    column = list_columns(encoding)[-1]
    assert column.write(np.zeros(encoding.n_features, dtype="float32")) == "(unseen)"


def test_only_rows_of_bytes_with_a_square_number_are_images(tmp_path):
    def write(name, shape, dtype):
        values = np.arange(20 * np.prod(shape)).reshape(20, *shape) % 200
        y = np.arange(20) % 2
        np.savez(tmp_path / name, x=values.astype(dtype), y=y)
        return find_image_shape(load(tmp_path / name).encoding)

    assert write("square.npz", (5, 5), "uint8") == (5, 5)
    assert write("wide.npz", (4, 6), "uint8") is None
    assert write("numbers.npz", (25,), "float32") is None


def test_the_columns_of_a_model_are_as_many_as_its_data_have(table):
    subject = train(table, target="price", drop="label", epochs=1)
    assert [column.name for column in list_columns(subject.encoding)][-1] == "größe 中"
