"""Tables as people have them: nine made up, five that come with scikit-learn."""

import gzip
import random
import re
import textwrap
from collections.abc import Callable, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

import pytest

from anyback_nn.cli import main
from anyback_nn.datasets import load

N = 120


class Table(NamedTuple):
    """A table, and what its columns are to be, but for the target, by a letter for each.

    n: numbers, d: dates, c: categories, -: left out with a note, x: left out by an option.
    """

    header: str
    kinds: str
    row: Callable[[random.Random, int], tuple] | None = None
    task: str = "classification"
    separator: str = ","
    end: str = "\n"
    encoding: str = "utf-8"
    options: Mapping[str, str] = MappingProxyType({})


def invoice(draw, i):
    net = draw.randint(100, 900_000) / 100
    euros, cents = f"{net:,.2f}".replace(",", ".").rsplit(".", 1)
    day = f"{draw.randint(1, 28):02d}.{draw.randint(1, 12):02d}.2023"
    gross = f"{net * 1.19:.2f}".replace(".", ",")
    place = draw.choice(["München", "Köln", "k.A."])
    return f"2024-{i:05d}", day, place, f"{euros},{cents} €", f"{draw.choice([7, 19])} %", gross


def survey(draw, _):
    gender = draw.choice(["female", "male", "prefer not to say", ""])
    age, car = draw.choice(["18-24", "25-34", "65+"]), draw.choice(["Yes", "No", "n/a"])
    return age, car, gender, draw.choice([1, 2, 3, "N/A"]), draw.choice(["agree", "disagree"])


def home(draw, i):
    size = draw.randint(400, 4000)
    price = f'"${size * 240 + draw.randint(0, 9999):,}.50"'
    return i, draw.choice(["02139", "10115"]), f'"{size:,} sq ft"', f"{size // 600} bd", price


def weather(draw, i):
    warm = draw.uniform(-15, 40)
    time = f"2024-03-{1 + i // 24:02d}T{i % 24:02d}:{draw.randint(0, 59):02d}:00Z"
    degrees = f"{warm:.1f} °C".replace("-", "\N{MINUS SIGN}")
    rain, wind = draw.choice([f"{draw.uniform(0, 9):.3g}", "-"]), draw.choice(["N", "NW", "S"])
    return time, degrees, rain, wind, "warm" if warm > 20 else "cold"


def run(draw, _):
    seconds = draw.randint(600, 3000)
    clock = f"{seconds // 60}:{seconds % 60:02d}"
    climb = f"{draw.randint(-200, 900):+d} m"
    name, pulse = draw.choice(["Ana", "Bo", "Cem"]), draw.randint(90, 180)
    return name, clock, f"{pulse} bpm", f"{draw.randint(0, 100)}%", climb, seconds / 100


def account(draw, _):
    balance = draw.uniform(-5000, 5000)
    written = f"({-balance:,.2f})" if balance < 0 else f"{balance:,.2f}"
    fee, branch = f"USD {draw.randint(1, 999)}", draw.choice(["A", "B", "C"])
    return f"DE{draw.randint(10**9, 10**10)}", f'"{written}"', fee, branch, int(balance < 0)


def patient(draw, _):
    smokes, potassium = draw.choice([True, False]), draw.choice([f"{draw.uniform(3, 9):.1f}", "?!"])
    ward, age = draw.choice(["001", "002", "010"]), f"{draw.randint(20, 90)}y"
    return ward, smokes, age, potassium, draw.choice(["007", "7", "012", "<NA>"])


def salary(draw, i):
    pay = draw.randint(1000, 99999)
    remark = f'"said ""hi"",\nthen left {i}"'
    since = draw.choice(["2021/05/17", "2023/11/02", "2022/01/30"])
    return f"{pay:,}".replace(",", "'"), draw.choice(["sales", "it"]), remark, "", since, pay * 2


def parcel(draw, i):
    grams = draw.randint(1000, 99999)
    written = f"{grams:,}".replace(",", "\u202f")
    depot = draw.choice("abcdefgh" if i % 9 == 0 else "ab")
    return written, "same", depot, "one" if grams > 50000 else "two", int(grams > 50000)


MADE = {
    "invoices.csv": Table(
        "Nr;Datum;Ort;Netto;MwSt;y",
        "-dcnn",
        invoice,
        "regression",
        ";",
        encoding="cp1252",
        options={"encoding": "cp1252"},
    ),
    "survey.csv": Table(
        "Age,Owns a car,Gender,Score,y", "cccn", survey, options={"categorical": "Age"}
    ),
    "homes.csv": Table(",zip,size,rooms,y", "-cnn", home, "regression"),
    "weather.txt": Table(
        "time,warmth,rain,wind,y", "dnnc", weather, separator="\t", encoding="utf-16"
    ),
    "runs.tsv": Table("runner,time,pulse,effort,climb,y", "cnnnn", run, "regression", "\t", "\r"),
    "accounts.csv": Table("account,balance,fee,branch,y", "-nnc", account, end="\r\n"),
    "patients.csv": Table("ward,smoker,age,potassium,y", "ccnn", patient),
    "salaries.csv": Table(
        "Pay,Team,Remark,Unnamed: 3,Since,y", "nc--d", salary, "regression", encoding="utf-8-sig"
    ),
    "parcels.csv": Table("weight,kind,depot,class,y", "n-cc", parcel, separator="|"),
}
REAL = {
    "penguins": (42585, Table("species", "cnnnnc")),
    "titanic": (
        40945,
        Table("survived", "n-cnnnxncccnc", options={"drop": "ticket", "categorical": "boat"}),
    ),
    "zoo": (62, Table("type", "-ccccccccccccnccc")),
    "cpu": (561, Table("class", "cnnnnnn", task="regression")),
    "glass": (40675, Table("class", "nnnnnnnnn")),
}


def names_of(columns):
    return [column.name for column in columns]


def check(data, names, kinds, task):
    """Compare what the columns are: none is a category, or left out, without a word."""
    features = data.encoding.features
    assert data.task == task
    expected = {
        kind: [name for name, one in zip(names, kinds, strict=True) if one == kind]
        for kind in "ndc-"
    }
    assert names_of(features.numbers) == expected["n"]
    assert names_of(features.dates) == expected["d"]
    assert names_of(features.categories) == expected["c"]
    notes = "\n".join(data.notes)
    for name in expected["-"]:
        assert repr(name) in notes
    assert len(textwrap.wrap(notes, 80)) < 20


def train_on(path, target, options, capsys):
    """Train by the command line, which shows the same notes."""
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    quick = ["--epochs", "1", "--hidden", "none", "--output", str(path.parent / "run")]
    assert main(["train", str(path), "--target", target, *flags, *quick]) == 0
    return capsys.readouterr()


@pytest.mark.parametrize("name", MADE)
def test_tables_as_people_have_them(name, tmp_path, capsys):
    table, draw = MADE[name], random.Random(0)
    names = re.split("[,;]", table.header)
    rows = [names, *(table.row(draw, i) for i in range(N))]
    text = table.end.join(table.separator.join(map(str, row)) for row in rows)
    (tmp_path / name).write_bytes(text.encode(table.encoding))
    check(load(tmp_path / name, target="y", **table.options), names[:-1], table.kinds, table.task)
    assert "baseline" in train_on(tmp_path / name, "y", table.options, capsys).out


@pytest.mark.parametrize("name", REAL)
def test_real_tables(name, tmp_path, capsys):
    number, table = REAL[name]
    folder = files("sklearn.datasets.tests.data.openml") / f"id_{number}"
    (source,) = (file for file in folder.iterdir() if file.name.startswith("data"))
    text = gzip.decompress(source.read_bytes()).decode()
    names = [
        re.split(r"[\s']+", line)[1]
        for line in text.splitlines()
        if re.match("@attribute", line, re.I)
    ]
    _, rows = re.split("@data\n", text, flags=re.I)
    path = tmp_path / f"{name}.csv"
    path.write_text(",".join(names) + "\n" + re.sub("(?m)^%.*\n", "", rows))
    data = load(path, target=table.header, **table.options)
    names.remove(table.header)
    check(data, names, table.kinds, table.task)
    assert "baseline" in train_on(path, table.header, table.options, capsys).out
