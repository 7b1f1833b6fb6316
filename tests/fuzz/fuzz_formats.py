"""The formats that are fuzzed: whole files, how they are damaged, and what reads them."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import shutil
import struct
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from fuzz_mutators import (
    compress,
    damage_bytes,
    damage_json,
    damage_parquet,
    make_npy,
    pack_zip,
)

import anyback_nn as nn
from anyback_nn.cli import main, run_folder
from anyback_nn.datasets import load, parquet_batches, read, read_idx
from anyback_nn.errors import AnybackError
from anyback_nn.sklearn import MLPClassifier, MLPRegressor
from anyback_nn.training import checkpoint

MEMORY_LIMIT = 2**26
"""The bytes that an input may say to take."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Format:
    """A format.

    Parameters
    ----------
    suffix : str
        Of the files.
    seeds : callable
        Returns the contents of whole files.
    mutate : callable
        ``mutate(draw, seed)`` returns a damaged or made-up content.
    run : callable
        ``run(path)`` reads a file; it returns, or raises an error of ours.
    """

    suffix: str
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[Random, bytes], bytes]
    run: Callable[[Path], None]


def attempt(*calls: Callable[[], Any]) -> None:
    """Make calls, each of which may be refused; raise the first refusal."""
    refusals = []
    for call in calls:
        try:
            call()
        except AnybackError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def run_program(*words: str) -> None:
    """Run a command; raise what it did not expect, and `AssertionError` for control characters."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    # Predictions are as in the data, unless for a terminal.
    output, errors = "" if words[0] == "predict" else out.getvalue(), err.getvalue()
    if "(unexpected:" in errors:
        raise AssertionError(f"{words} ended with: {errors}")
    if match := CONTROL.search(output + errors):
        raise AssertionError(f"{words} printed {match[0]!r}")
    if max(map(len, (output + errors).splitlines()), default=0) > 20_000:
        raise AssertionError(f"{words} printed a line of more than 20,000 letters")
    if status:
        raise AnybackError(errors)


# IDX ---------------------------------------------------------------------------------------------

IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def idx(kind: int, shape: Iterable[int], values: bytes) -> bytes:
    shape = tuple(shape)
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + values


def idx_seeds() -> list[bytes]:
    draw = Random(0)
    images = idx(8, (20, 3, 3), draw.randbytes(180))
    labels = idx(8, (20,), bytes(i % 3 for i in range(20)))
    floats = idx(0x0D, (2, 4), struct.pack(">8f", *range(8)))
    return [images, labels, floats, gzip.compress(images, mtime=0), gzip.compress(labels, mtime=0)]


def mutate_idx(draw: Random, seed: bytes) -> bytes:
    if draw.randrange(2):
        return damage_bytes(draw, seed)
    sizes = [0, 1, 2, 3, 20, 2**16, 2**31, 2**32 - 1]
    shape = [draw.choice(sizes) for _ in range(draw.choice([0, 1, 1, 2, 3, 3, 33, 65, 255]))]
    content = idx(draw.choice([8, 9, 11, 12, 13, 14, 0, 255]), shape, b"")
    content += draw.randbytes(draw.choice([0, 20, 180, 1000]))
    return compress(draw, content)


def run_idx(path: Path) -> None:
    def load_folder(changed: int) -> None:
        with TemporaryDirectory() as name:
            for part in ("train", "t10k"):
                for i, file in enumerate(IDX_NAMES):
                    content = path.read_bytes() if i == changed else idx_seeds()[i]
                    Path(name, file.replace("train", part)).write_bytes(content)
            load(name)

    attempt(lambda: read_idx(path), lambda: load_folder(0), lambda: load_folder(1))


# NPZ ---------------------------------------------------------------------------------------------


@cache
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(20, 3))
    return {
        "x": x,
        "X": (x > 0).astype(np.uint8).reshape(20, 1, 3),
        "y": np.arange(20) % 2,
        "x_train": x.astype(np.float32),
        "y_train": np.array(["u", "vv"] * 10),
        "x_test": x,
        "y_test": np.array(["u", "vv"] * 10),
    }


def npz(names: Iterable[str], save: Any = np.savez) -> bytes:
    file = io.BytesIO()
    save(file, **{name: arrays()[name] for name in names})
    return file.getvalue()


def npz_seeds() -> list[bytes]:
    named = [("x", "y"), ("X", "y"), ("x_train", "y_train", "x_test", "y_test")]
    return [npz(names, save) for names in named for save in (np.savez, np.savez_compressed)]


def mutate_npz(draw: Random, seed: bytes) -> bytes:
    if draw.randrange(2):
        return damage_bytes(draw, seed)
    members = {}
    for name in draw.choice([("x", "y"), ("X", "y"), ("x_train", "y_train", "x_test", "y_test")]):
        file = io.BytesIO()
        np.save(file, arrays()[name])
        content = file.getvalue() if draw.randrange(2) else make_npy(draw, file.getvalue())
        members[name + draw.choice([".npy", ".npy", ".npy", ".npy", ""])] = content
    if draw.randrange(10) == 0:
        members[draw.choice(["../a.npy", "/x.npy", "é.npy", "x", "y.npy/"])] = b"x"
    return pack_zip(draw, members)


def run_npz(path: Path) -> None:
    dataset = load(path)
    attempt(
        lambda: read(path, dataset.encoding, with_target=True),
        lambda: load(path, task="regression"),
    )


# Tables ------------------------------------------------------------------------------------------

WORDS = [
    *(
        "",
        " ",
        "NA",
        "nan",
        "-",
        "+",
        "?",
        "inf",
        "-inf",
        "1e309",
        "1e-400",
        "0",
        "1",
        "2",
        "-1",
        "01",
    ),
    *("1,5", "1.5", "1.234,5", "1,234", "12 kg", "$3", "5%", "(3)", "2024-01-31", "31.01.2024"),
    *("2024-02-30", "0000-00-00", "9999-12-31T23:59:60Z", "12:30", "25:61", "1 2", "true", "FALSE"),
    *(
        "a",
        "b",
        "\x1b[2J",
        "\u202e",
        "é",
        "a" * 300,
        "9" * 400,
        "1" * 30,
        "0x1F",
        '"',
        '""',
        "'",
        "\\",
    ),
    *(
        "1_000",
        "\u0660\u0661",
        "\u2212" + "5",
        "5e",
        "e5",
        ".",
        ",",
        "..",
        "1.",
        ".5",
        "--1",
        "1-",
        "\ufeff",
    ),
]


def csv_seeds() -> list[bytes]:
    draw = Random(0)
    rows = [
        (f"{draw.gauss(0, 1):.3f}", draw.choice("uvw"), f"2024-01-{i % 28 + 1:02}", f"{i % 2}")
        for i in range(60)
    ]
    plain = "a,t,d,y\n" + "".join(",".join(row) + "\n" for row in rows)
    german = plain.replace(",", ";").replace(".", ",")
    quoted = 'a,"t, t",y\n' + "".join(f'{a},"{t} ""x"",\n",{y}\r\n' for a, t, _, y in rows)
    return [
        *(plain.encode(), german.encode(), quoted.encode(), plain.encode("utf-16")),
        gzip.compress(plain.encode(), mtime=0),
    ]


def mutate_csv(draw: Random, seed: bytes) -> bytes:
    if draw.randrange(2):
        return compress(draw, damage_bytes(draw, seed))
    separator = draw.choice(",,,;\t|")
    width, height = draw.choice([1, 2, 3, 5, 30]), draw.choice([0, 1, 2, 8, 30, 100])
    pools = [draw.sample(WORDS, draw.choice([1, 2, 3, 8])) for _ in range(width)]
    names = [draw.choice(["a", "b", "id", "x" * 200, *draw.sample(WORDS, 3)]) for _ in range(width)]
    if draw.randrange(4):
        names = [f"{name}{i}" for i, name in enumerate(names)]
    lines = [[*names, "y"]]
    lines += [
        [*(draw.choice(pool) for pool in pools), draw.choice(pools[0] + ["0", "1"])]
        for _ in range(height)
    ]
    if draw.randrange(3) == 0:
        lines[draw.randrange(len(lines))].append("z")
    end = draw.choice(["\n", "\n", "\r\n", "\r"])

    def write(word: str) -> str:
        quoted = '"' + word.replace('"', '""') + '"'
        return quoted if separator in word or draw.randrange(10) == 0 else word

    text = end.join(separator.join(map(write, line)) for line in lines) + draw.choice(["", end])
    encoding = draw.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32"])
    return compress(draw, text.encode(encoding, errors="replace"))


def run_csv(path: Path) -> None:
    def use(**options: Any) -> None:
        dataset = load(path, target="y", **options)
        read(path, dataset.encoding, with_target=True)
        nn.datasets.encoding_from_json(json.loads(json.dumps(dataset.encoding.to_json())))

    attempt(
        use,
        lambda: use(task="regression"),
        lambda: use(task="classification", decimal=",", separator=";"),
        lambda: use(encoding="utf-16", na_values=("0", "u")),
        lambda: use(encoding="latin-1", time="a"),
        lambda: use(group="t"),
    )


@cache
def frames() -> list[pl.DataFrame]:
    n = 60
    kinds = pl.DataFrame(
        {
            "a": np.arange(n) / 3,
            "i": pl.Series(np.arange(n) % 7).set(pl.Series(np.arange(n) % 5 == 0), None),
            "s": ["x", None, "long " * 5] * (n // 3),
            "b": [True, False, None] * (n // 3),
            "c": pl.Series(["u", "v"] * (n // 2), dtype=pl.Categorical),
            "d": pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 29), eager=True),
            "y": np.arange(n) % 2,
        }
    )
    nested = kinds.select(
        "y", "a", l=pl.concat_list("a", "i"), r=pl.struct("a", "s"), f=pl.col("a").cast(pl.Float32)
    )
    typed = kinds.select(
        "y",
        t=pl.col("d").cast(pl.Datetime("ns", "UTC")),
        m=pl.col("i").cast(pl.Decimal(10, 2)),
        z=pl.col("s").cast(pl.Binary),
        u=pl.col("i").cast(pl.UInt8),
        n=pl.lit(None),
        k=pl.time(1, 2, 3),
    )
    return [kinds, nested, typed]


@cache
def parquet_seeds() -> list[bytes]:
    contents = []
    for frame in frames():
        for compression in ("zstd", "snappy", "uncompressed", "gzip", "lz4"):
            file = io.BytesIO()
            frame.write_parquet(file, compression=compression, row_group_size=25)
            contents.append(file.getvalue())
    return contents


def run_parquet(path: Path) -> None:
    def stream() -> None:
        batches = parquet_batches(path, "y", batch_size=16)
        for _ in batches:
            pass

    def whole() -> None:
        dataset = load(path, target="y")
        read(path, dataset.encoding, with_target=True)

    attempt(whole, stream)


# Model files -------------------------------------------------------------------------------------


@cache
def dataset() -> Any:
    return load(frames()[0].drop("c"), target="y")


def models() -> Iterable[Any]:
    data = dataset()
    layers = [nn.Dense(6), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Dense(2)]
    model = nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend="numpy")
    schedule = nn.CosineDecay(0.01, 4)
    model.fit(
        data.x_train,
        data.y_train,
        epochs=2,
        optimizer=nn.Adam(schedule, clip_norm=1.0),
        progress=False,
    )
    model.encoding = data.encoding.to_json()
    yield model
    model = nn.Model(nn.Dense(3), nn.Tanh(), nn.Dense(1), loss=nn.Huber(), compute_dtype="float16")
    x = np.random.default_rng(0).normal(size=(20, 3))
    optimizer = nn.Momentum(nn.ReduceOnPlateau(0.1))
    model.fit(x, x[:, :1], epochs=1, optimizer=optimizer, validation=0.5, progress=False)
    yield model


@cache
def model_seeds() -> list[bytes]:
    return [saved(model) for model in models()]


@cache
def estimator_seeds() -> list[bytes]:
    x = np.random.default_rng(0).normal(size=(20, 3))
    classifier = MLPClassifier(
        hidden_layer_sizes=(4,), max_iter=2, early_stopping=True, random_state=0
    )
    regressor = MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, batch_norm=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they have not converged
        classifier.fit(x, np.array(["a", "bb"])[(x[:, 0] > 0).astype(int)])
        regressor.fit(x, x[:, 1])
    return [saved(classifier), saved(regressor)]


def saved(model: Any) -> bytes:
    fitted = getattr(model, "model_", model)
    for row in fitted.training.history.rows:
        row["seconds"] = 0.0  # so that all is the same in every run
    with TemporaryDirectory() as folder:
        model.save(path := Path(folder, "a.safetensors"))
        return path.read_bytes()


def mutate_model(draw: Random, seed: bytes, *parts: str) -> bytes:
    """Damage the contents of a model file, before its checksum is computed, or what holds them."""
    way = draw.randrange(6)
    if way == 0:
        return damage_bytes(draw, seed)
    length = int.from_bytes(seed[:8], "little")
    header = json.loads(seed[8 : 8 + length])
    if way == 1:  # the table of arrays, or the text of the settings
        text = json.dumps(damage_json(draw, header)).encode()
        if draw.randrange(2):
            settings = header["__metadata__"][checkpoint.FORMAT]
            broken = damage_bytes(draw, settings.encode()).decode("latin-1")
            if draw.randrange(4) == 0:
                broken = draw.choice(
                    ["[" * 10**5, '{"version": 2, "a": ' * 300, "1" * 5000, "NaN", ""]
                )
            header["__metadata__"][checkpoint.FORMAT] = broken
            text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + seed[8 + length :]
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        path.write_bytes(seed)
        values, settings = checkpoint.read(path)
        if way == 2:
            name = draw.choice(sorted(values))
            array = np.array(values[name])
            change = draw.randrange(5)
            if change == 0:
                values[name] = np.full_like(array, draw.choice([np.nan, np.inf, -1, 1e30]))
            elif change == 1:
                del values[name]
            elif change == 2:
                values[name] = array.astype(draw.choice(["f2", "f8", "i4", "u1", "bool"]))
            elif change == 3:
                values[name] = array.reshape(draw.choice([(-1,), (1, -1), (-1, 1), (1, 1, -1)]))
            else:
                values[draw.choice(["x", "parameters.9.weight", name + ".a"])] = array
        else:
            chosen = settings
            for part in parts:
                chosen = chosen.get(part) or settings
            damaged = damage_json(draw, chosen)
            settings = {**settings, parts[-1]: damaged} if chosen is not settings else damaged
        with contextlib.suppress(AnybackError, RecursionError):
            checkpoint.write(path, values, settings)
        return path.read_bytes()


def use_model(path: Path) -> None:
    model = nn.Model.load(path, "numpy")
    x = np.zeros((4, model.n_in))
    model.predict(x)
    targets = np.zeros(4, dtype=np.int64) if model.loss.classifies else np.zeros((4, model.n_out))
    with contextlib.suppress(ValueError):  # which says what a schedule wants of validation data
        model.fit(x, targets, epochs=1, progress=False)


def run_model(path: Path) -> None:
    attempt(lambda: run_program("inspect", str(path)), lambda: use_model(path))


def run_estimator(path: Path) -> None:
    def use(cls: Any) -> None:
        estimator = cls.load(path, backend="numpy")
        estimator.predict(np.zeros((2, estimator.n_features_in_)))
        repr(estimator)

    attempt(
        lambda: use(MLPClassifier),
        lambda: use(MLPRegressor),
        lambda: run_program("inspect", str(path)),
    )


def run_encoding(path: Path) -> None:
    def use() -> None:
        backend = nn.select("numpy")
        model, encoding = run_folder.load(path, backend)
        rows = read(frames()[0].drop("c"), encoding, with_target=True)
        encoding.decode(model.predict_classes(rows.x))

    with TemporaryDirectory() as folder:
        table = Path(folder, "a.csv")
        frames()[0].drop("c").write_csv(table)
        attempt(
            use,
            lambda: run_program("inspect", str(path)),
            lambda: run_program("evaluate", str(path), str(table)),
            lambda: run_program("predict", str(path), str(table), "--probabilities"),
        )


# Run folders -------------------------------------------------------------------------------------


@cache
def run_template() -> tuple[Path, TemporaryDirectory[str]]:
    """Return a folder with a table and a run that was trained with it."""
    folder = TemporaryDirectory()
    table = Path(folder.name, "a.csv")
    frames()[0].drop("c").write_csv(table)
    words = ("train", str(table), "--target", "y", "--epochs", "1", "--hidden", "2", "--quiet")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main((*words, "--output", str(Path(folder.name, "run")))) == 0
    return Path(folder.name), folder


@cache
def settings_seeds() -> list[bytes]:
    folder = run_template()[0]
    text = (folder / "run" / run_folder.SETTINGS).read_text()
    text = re.sub(r'"seconds": [\d.e-]+', '"seconds": 0.5', text.replace(str(folder), "folder"))
    return [text.encode()]


def mutate_settings(draw: Random, seed: bytes) -> bytes:
    if draw.randrange(4) == 0:
        return damage_bytes(draw, seed)
    if draw.randrange(50) == 0:
        return draw.choice([b"[" * 10**5, b"", b"null", b"1" * 5000, b'{"a":' * 10**4, b"\xff\xfe"])
    return json.dumps(damage_json(draw, json.loads(seed))).encode()


def run_settings(path: Path) -> None:
    folder = run_template()[0]
    run, table = folder / "run", str(folder / "a.csv")
    shutil.copyfile(path, run / run_folder.SETTINGS)
    attempt(
        lambda: run_program("inspect", str(run)),
        lambda: run_program("evaluate", str(run), table, "--part", "test"),
        lambda: run_program("predict", str(run), table),
    )


FORMATS = {
    "idx": Format(".idx", idx_seeds, mutate_idx, run_idx),
    "npz": Format(".npz", npz_seeds, mutate_npz, run_npz),
    "csv": Format(".csv", csv_seeds, mutate_csv, run_csv),
    "parquet": Format(".parquet", parquet_seeds, damage_parquet, run_parquet),
    "model": Format(".safetensors", model_seeds, mutate_model, run_model),
    "estimator": Format(
        ".safetensors",
        estimator_seeds,
        lambda draw, seed: mutate_model(draw, seed, *draw.choice([(), ("estimator",)])),
        run_estimator,
    ),
    "encoding": Format(
        ".safetensors",
        lambda: model_seeds()[:1],
        lambda draw, seed: mutate_model(draw, seed, "encoding"),
        run_encoding,
    ),
    "settings": Format(".json", settings_seeds, mutate_settings, run_settings),
}
