"""Subjects of reports: small models, trained for a moment on data with names of all kinds."""

from __future__ import annotations

import csv

import numpy as np

import anyback_nn as nn
from anyback_nn.cli.recipe import build_model
from anyback_nn.datasets import load
from anyback_nn.report import Subject

HOSTILE = "<script>alert('x')</script>"


def write_table(folder, n_rows=160):
    """Write a table with numbers, categories and dates, whose names are as bad as they get."""
    draws = np.random.default_rng(0)
    x, kinds = draws.normal(size=(n_rows, 2)), draws.integers(3, size=n_rows)
    label = np.where(x[:, 0] + kinds > 1, HOSTILE, "$no$ & \x1b[2J")
    days = np.datetime64("2024-01-01") + draws.integers(300, size=n_rows)
    path = folder / "table.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"size {HOSTILE}", "$a$, \\frac", "größe 中", "day", "price", "label"])
        for row, kind, day, one in zip(x, kinds, days, label):
            texts = (f"{value:.4f}" for value in row)
            price = f"{100 + 10 * row[0] + 5 * kind:.3f}"
            writer.writerow([*texts, ("<b>", "rot", "blau")[kind], day, price, one])
    return path


def train(source, *, epochs=4, activity=None, hidden="8", activation="relu", **options):
    """Load data, train a small model on them, and return the subject of its report."""
    dataset = load(source, **options)
    shape = {"hidden": hidden, "activation": activation, "dropout": 0.0, "seed": 0}
    model = build_model(dataset, "numpy", dtype="float32", **shape)
    callbacks = [] if activity is None else [activity]
    arrays = dataset.x_train, dataset.y_train
    model.fit(*arrays, epochs=epochs, validation=0.2, callbacks=callbacks, optimizer=nn.Adam(0.01))
    rows = None if activity is None else activity.rows
    return Subject(dataset.name, model, dataset.encoding, dataset, activity=rows)
