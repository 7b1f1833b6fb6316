"""The options of all commands, each with its check."""

from __future__ import annotations

import csv
import math
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from anyback_nn.backends import Backend, select
from anyback_nn.cli import UsageError
from anyback_nn.datasets.options import NO_OPTIONS, TableOptions
from anyback_nn.datasets.targets import TASKS
from anyback_nn.distributed import KINDS
from anyback_nn.errors import CheckpointError, DataError
from anyback_nn.inputs.checks import COMPUTE_DTYPES, DTYPES
from anyback_nn.network.activations import ACTIVATIONS
from anyback_nn.network.losses import LOSSES
from anyback_nn.optim.optimizers import OPTIMIZERS
from anyback_nn.optim.schedules import SCHEDULES
from anyback_nn.training.resume import parse_interval
from anyback_nn.utils.messages import did_you_mean

PARTS = ("auto", "test", "all")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

# Reading and checking ----------------------------------------------------------------------------


def parse_widths(text: str) -> tuple[int, ...]:
    """Read the widths of hidden layers.

    >>> parse_widths("128,64"), parse_widths("none")
    ((128, 64), ())
    """
    words = [] if text.strip() == "none" else [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise typer.BadParameter(
            f"expected the widths of the hidden layers, such as 128,64, or none; got {text!r}"
        )
    return tuple(map(int, words))


def parse_columns(texts: Sequence[str]) -> list[str]:
    """Read values that are separated by commas, in any of some texts; quotes enclose commas.

    >>> parse_columns(["id, town", '"area, m2"'])
    ['id', 'town', 'area, m2']
    """
    return [value.strip() for row in csv.reader(texts, skipinitialspace=True) for value in row]


def table_options(arguments: Mapping[str, Any], known: TableOptions = NO_OPTIONS) -> TableOptions:
    """Return the options of a table, with those among a command's arguments that are not None."""
    arguments = {**arguments, "encoding": arguments["text_encoding"]}
    names = {field.name for field in fields(TableOptions)} & arguments.keys()
    changes = {name: value for name in names if (value := arguments[name]) is not None}
    for name, value in changes.items():
        if isinstance(value, list):
            changes[name] = tuple(parse_columns(value))
    try:
        return replace(known, **changes)
    except DataError as error:
        raise typer.BadParameter(str(error)) from error


def parse_names(text: str) -> list[str]:
    """Read names that are separated by commas.

    >>> parse_names("numpy, torch")
    ['numpy', 'torch']
    """
    return list(dict.fromkeys(name for word in text.split(",") if (name := word.strip())))


def parse_weight(text: str) -> tuple[int, int, int]:
    """Read the place of a weight.

    >>> parse_weight("1,0,2")
    (1, 0, 2)
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != 3 or not all(word.isdecimal() for word in words):
        raise typer.BadParameter(
            f"expected the layer, the input and the unit of a weight, such as 1,0,2; got {text!r}",
            param_hint="'--weight'",
        )
    layer, i, j = map(int, words)
    return layer, i, j


@contextmanager
def usage_error(option: str) -> Iterator[None]:
    """Raise a `ValueError` from inside as a wrong value of an option, which is named once."""
    try:
        yield
    except ValueError as error:
        message = str(error).removeprefix(f"{option.removeprefix('--')}: ")
        raise typer.BadParameter(message, param_hint=f"'{option}'") from error


def recall(command: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the arguments of an earlier call again, so that each is checked.

    Raises
    ------
    CheckpointError
        They are not those of this command.
    """
    known = {parameter.name: parameter for parameter in command.params}
    words: list[str] = []
    data: list[str] = []
    for name, value in asked.items():
        if name not in known:
            raise CheckpointError(f"the option {name!r} is unknown: was it another version?")
        parameter = known[name]
        if value is None or value is False:
            continue
        if parameter.param_type_name == "argument":
            data.append(str(value))
        elif parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [parameter.opts[0], str(one)]
    try:
        with command.make_context(command.name, [*words, "--", *data]) as context:
            parsed = context.params
    except UsageError as error:
        raise CheckpointError(error.format_message()) from error
    # As the command gets them: a list that is not given is None.
    return {
        name: (list(value) or None) if isinstance(value, tuple) else value
        for name, value in parsed.items()
    }


def write_command(command: Any, asked: Mapping[str, Any], always: Collection[str] = ()) -> str:
    """Write an earlier call as a line for the shell: what is not the default, or is in ``always``.

    What the command does not know is left out.
    """
    data, words = [], []
    for parameter in command.params:
        value = asked.get(parameter.name)
        is_default = value == parameter.default and parameter.name not in always
        if value is None or value is False or is_default:
            continue
        if parameter.param_type_name == "argument":
            data.append(value)
        elif parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            for item in value if isinstance(value, list) else [value]:
                words += [parameter.opts[0], item]
    return shlex.join(map(str, [command.name, *data, *words]))


def select_backend(spec: str | None) -> Backend:
    """Select the backend of ``--backend``."""
    with usage_error("--backend"):
        return select(spec)


def _check(fits: Callable[[Any], object], expected: str) -> Callable[[Any], Any]:
    """Create the check of a value, unless it is left out."""

    def check(value: Any) -> Any:
        if value is None or fits(value):
            return value
        raise typer.BadParameter(f"expected {expected}, got {value!r}")

    return check


def _one_of(known: Collection[str]) -> Callable[[Any], Any]:
    """Create the check that a name is known, unless it is left out."""

    def check(value: str | None) -> str | None:
        if value is None or value in known:
            return value
        raise typer.BadParameter(
            f"{value!r} is unknown.{did_you_mean(value, known)} Expected one of {', '.join(known)}"
        )

    return check


def _check_widths(text: str) -> str:
    parse_widths(text)
    return text


def _check_page(path: Path | None) -> Path | None:
    """Refuse what is not named like a page: models, tables and settings are never replaced."""
    # A link is written to where it leads.
    if path is None or os.path.realpath(path).lower().endswith((".html", ".htm")):
        return path
    raise typer.BadParameter(f"expected a file that ends in .html, got {path}")


def _check_interval(text: str | None) -> str | None:
    try:
        parse_interval(text)
    except ValueError as error:
        raise typer.BadParameter(str(error).removeprefix("every: ")) from error
    return text


def _read_separator(word: str | None) -> str | None:
    """Return a separator, of which a tab is hard to type."""
    return "\t" if word in ("tab", "\\t") else word


def parse_bytes(text: str) -> int:
    """Read an amount of memory, with a unit or in bytes.

    >>> parse_bytes("1.5GB"), parse_bytes("64 MB"), parse_bytes("2e6")
    (1500000000, 64000000, 2000000)
    """
    number, unit = re.fullmatch(r"(.*?)\s*([kMGT]?)B?", text.strip(), re.IGNORECASE).groups()  # type: ignore[union-attr]
    with suppress(ValueError, OverflowError):
        if (value := int(float(number) * _UNITS[unit.upper()])) >= 0:
            return value
    raise typer.BadParameter(f"expected an amount of memory, such as 4GB or 500MB; got {text!r}")


def _join_with_or(names: Collection[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"


def _option(
    panel: str,
    metavar: str,
    description: str,
    *names: str,
    check: Callable[[Any], Any] | None = None,
    parser: Callable[[str], Any] | None = None,
    default: bool | str = True,
) -> Any:
    """Create an option, named as its parameter unless it has ``names``.

    ``default`` is what its help shows as the default.
    """
    return typer.Option(
        *names,
        metavar=metavar,
        callback=check,
        parser=parser,
        help=description,
        show_default=default,
        rich_help_panel=panel,
    )


def _choice(panel: str, metavar: str, names: Collection[str], default: bool | str = True) -> Any:
    """Create an option for one of some names."""
    description = f"{_join_with_or(names)}."
    return _option(panel, metavar, description, check=_one_of(names), default=default)


_AT_LEAST_1 = _check(lambda value: value >= 1, "at least 1")
_AT_LEAST_0 = _check(lambda value: 0 <= value < math.inf, "0 or greater, and finite")
_ABOVE_0 = _check(lambda value: 0 < value < math.inf, "a finite number above 0")

# Data --------------------------------------------------------------------------------------------

_data = partial(_option, "Data")

_DATA: Any = typer.Argument(
    metavar="DATA",
    show_default=False,
    help="A .csv, .tsv, .txt or .parquet file, also compressed (.gz, .bz2, .zip), - for "
    "standard input, an .npz file, a folder with IDX files, or one of digits, xor, circles, "
    "moons, spirals, blobs.",
)
Data = Annotated[str, _DATA]
NewData = Annotated[str | None, _DATA]
DataAgain = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        show_default="those of training, where they were",
        help="Where the data of training are.",
    ),
]
OptionalData = Annotated[str, typer.Argument(metavar="DATA", help="As for train.")]
PlaneData = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="spirals, moons, circles, xor or blobs; or a table, as for train, with two columns of "
        "numbers and a target of two classes.",
    ),
]
Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", show_default=False, help="A folder that train wrote, or a model file."
    ),
]
Target = Annotated[
    str | None,
    _data("COL", "Column of a table to predict; several continuous ones as A,B.", default=False),
]
KnownTarget = Annotated[
    str | None,
    _data("COL", "Column of a table with the targets.", default="the one used in training"),
]
Task = Annotated[str, _choice("Data", "TASK", TASKS)]

_SEPARATOR = ("CHAR", "Character between the columns of a text file, or tab.")
_DECIMAL = ("MARK", "Mark before the fraction of a number, a point or a comma.")
_ENCODING = ("NAME", "Encoding of a text file, such as latin-1 or utf-16.")
_NA_VALUES = ("VALUES", "Further values that are missing, separated by commas.")
_DROP = ("COLS", "Columns that are no features, separated by commas.")
_FEATURES = ("COLS", "Columns that are features, separated by commas.")
_IDS = ("COLS", "Columns that name the rows, written next to the predictions.", "--id")
_KNOWN = "as in training"

Separator = Annotated[
    str | None, _data(*_SEPARATOR, check=_read_separator, default="the one that fits")
]
Decimal = Annotated[str | None, _data(*_DECIMAL, default="the one that fits")]
TextEncoding = Annotated[str | None, _data(*_ENCODING, "--encoding", default="utf-8")]
NaValues = Annotated[list[str] | None, _data(*_NA_VALUES, default=False)]
Drop = Annotated[list[str] | None, _data(*_DROP, default=False)]
Features = Annotated[list[str] | None, _data(*_FEATURES, default="all that can be")]
Categorical = Annotated[
    list[str] | None, _data("COLS", "Columns whose values are categories.", default=False)
]
Numeric = Annotated[
    list[str] | None, _data("COLS", "Columns whose values are numbers.", default=False)
]
Ids = Annotated[list[str] | None, _data(*_IDS, default=False)]

KnownSeparator = Annotated[str | None, _data(*_SEPARATOR, check=_read_separator, default=_KNOWN)]
KnownDecimal = Annotated[str | None, _data(*_DECIMAL, default=_KNOWN)]
KnownTextEncoding = Annotated[str | None, _data(*_ENCODING, "--encoding", default=_KNOWN)]
KnownNaValues = Annotated[list[str] | None, _data(*_NA_VALUES, default=_KNOWN)]
KnownDrop = Annotated[list[str] | None, _data(*_DROP, default=_KNOWN)]
KnownFeatures = Annotated[list[str] | None, _data(*_FEATURES, default=_KNOWN)]
KnownIds = Annotated[list[str] | None, _data(*_IDS, default=_KNOWN)]
MemoryLimit = Annotated[
    int | None,
    _data(
        "SIZE",
        "Memory that DATA may take when it is read, such as 4GB.",
        parser=parse_bytes,
        default="what is free",
    ),
]
TestFile = Annotated[
    Path | None, _data("FILE", "File whose rows are the test part.", default=False)
]
TestShare = Annotated[
    float | None,
    _data(
        "SHARE",
        "Share of the rows to test with, unless the data come with a test part.",
        check=_check(lambda value: 0 < value < 1, "a share between 0 and 1"),
        default="0.2",
    ),
]
Group = Annotated[
    str | None,
    _data("COL", "Column whose rows of one value stay in one part; no feature.", default=False),
]
Time = Annotated[
    str | None,
    _data("COL", "Column of times: the last rows are the test part.", default=False),
]
LogTarget = Annotated[
    bool, _data("", "Learn the logarithm of 1 + target; predict the target.", "--log-target")
]
Part = Annotated[
    str,
    _data(
        "PART",
        "Rows to measure: test, all, or auto (the test part if the data come with one, else all). "
        "Of the file of training, test takes the rows that it was tested with.",
        check=_one_of(PARTS),
    ),
]
Sample = Annotated[
    int, _data("I", "Number of the sample in the test part, from 0.", check=_AT_LEAST_0)
]
Validation = Annotated[
    float,
    _data(
        "SHARE",
        "Share of the training data to validate with.",
        check=_check(lambda value: 0 <= value < 1, "a share from 0 to below 1"),
    ),
]

# Network -----------------------------------------------------------------------------------------

_network = partial(_option, "Network")

Hidden = Annotated[
    str, _network("WIDTHS", "Widths of the hidden layers, or none.", check=_check_widths)
]
Activation = Annotated[str, _choice("Network", "NAME", ACTIVATIONS)]
Dropout = Annotated[
    float,
    _network(
        "P",
        "Share of the hidden units to drop.",
        check=_check(lambda value: 0 <= value < 1, "a probability from 0 to below 1"),
    ),
]

# Training ----------------------------------------------------------------------------------------

_training = partial(_option, "Training")

LossName = Annotated[str | None, _choice("Training", "NAME", LOSSES, default="by the task")]
ClassWeight = Annotated[
    str | None,
    _training(
        "WEIGHT",
        "balanced: all classes weigh the same, however many rows they have.",
        check=_one_of(["balanced"]),
        default=False,
    ),
]
OptimizerName = Annotated[str, _choice("Training", "NAME", OPTIMIZERS)]
LearningRate = Annotated[
    float | None,
    _training(
        "RATE", "Learning rate of the first step.", check=_ABOVE_0, default="the optimizer's"
    ),
]
Schedule = Annotated[
    str,
    _training(
        "NAME",
        "How the learning rate changes: cosine (down to 0 in the last epoch) or constant.",
        check=_one_of(SCHEDULES),
    ),
]
L2 = Annotated[float, _training("L", "Penalty on the squared weights.", check=_AT_LEAST_0)]
ClipNorm = Annotated[
    float | None,
    _training(
        "LENGTH",
        "Longest gradient of a step; longer ones are scaled down to it.",
        check=_ABOVE_0,
        default=False,
    ),
]
Epochs = Annotated[int, _training("N", "Passes over the training data.", check=_AT_LEAST_1)]
Steps = Annotated[int, _training("N", "Training steps to compare.", check=_AT_LEAST_1)]
BatchSize = Annotated[int, _training("N", "Rows of data per step.", check=_AT_LEAST_1)]
EarlyStopping = Annotated[
    int | None,
    _training(
        "PATIENCE",
        "Stop after this many epochs without a better validation loss; keep the best epoch.",
        check=_AT_LEAST_1,
        default=False,
    ),
]
CheckpointEvery = Annotated[
    str | None,
    _training(
        "N[UNIT]",
        "Write a checkpoint after every N epochs, steps or seconds, such as 600seconds, and keep "
        "the last two and the best.",
        check=_check_interval,
        default="after an epoch, 30 seconds after the last one",
    ),
]
OnDivergence = Annotated[
    str,
    _training(
        "ACTION",
        "What happens after an epoch in which the loss or parameters became infinite, or the loss "
        "a thousand times that of the first epoch: stop, or rollback, which tries the epoch again "
        "with a quarter of the learning rate.",
        check=_one_of(("stop", "rollback")),
    ),
]
Resume = Annotated[
    Path | None,
    _training(
        "RUN",
        "Resume a run that is not finished, with its data and options: as if it had never been "
        "interrupted. With --epochs, it ends earlier or later.",
        default=False,
    ),
]
Seed = Annotated[
    int, _training("N", "Seed for initial weights, order of rows and dropout.", check=_AT_LEAST_0)
]
Seconds = Annotated[
    float, _option("Timing", "N", "About how long the timing may take.", check=_ABOVE_0)
]

# Where to compute --------------------------------------------------------------------------------

_computing = partial(_option, "Where to compute")

BackendSpec = Annotated[
    str | None,
    _computing(
        "SPEC",
        "Backend, such as cupy or torch:cuda:0; anyback-nn backends lists them.",
        default="$ANYBACK_NN_BACKEND or numpy",
    ),
]
BackendSpecs = Annotated[
    str | None,
    _computing(
        "SPECS",
        "Backends, separated by commas, such as numpy,torch:cuda:0.",
        check=_check(parse_names, "at least one backend"),
        default="all that can compute here",
    ),
]
Distributed = Annotated[str, _choice("Where to compute", "LAUNCHER", KINDS)]
Dtype = Annotated[str, _choice("Where to compute", "DTYPE", DTYPES)]
_SOME_DTYPES = f"{', '.join(DTYPES)} or {','.join(DTYPES)}"
Dtypes = Annotated[
    str,
    _computing(
        "DTYPES",
        f"{_SOME_DTYPES}.",
        check=_check(
            lambda text: parse_names(text) and set(parse_names(text)) <= set(DTYPES), _SOME_DTYPES
        ),
    ),
]
ComputeDtype = Annotated[
    str | None,
    _computing(
        "DTYPE",
        f"Mixed precision: steps compute in {_join_with_or(COMPUTE_DTYPES)}.",
        check=_one_of(COMPUTE_DTYPES),
        default="as --dtype",
    ),
]

# Output ------------------------------------------------------------------------------------------

_output = partial(_option, "Output")

RunFolder = Annotated[
    Path | None, _output("DIR", "New folder for the model.", default="runs/NAME-N")
]
PredictionFile = Annotated[
    Path | None, _output("FILE", "CSV file to write.", default="standard output")
]
ReportFile = Annotated[
    Path | None,
    _output("FILE", "HTML file to write.", check=_check_page, default="RUN/report.html"),
]
Report = Annotated[
    bool,
    _output(
        "",
        "Record what happens inside of the network, and write a report to the run's folder.",
        "--report",
    ),
]
OnnxFile = Annotated[
    Path, typer.Argument(metavar="FILE", show_default=False, help="ONNX file to write.")
]
Plot = Annotated[
    Path | None,
    _output(
        "FILE",
        "Picture to draw of the differences at each step (.png, .svg or .pdf).",
        default=False,
    ),
]
PageFile = Annotated[
    Path | None,
    _output("FILE", "HTML file to write.", check=_check_page, default="a new temporary file"),
]
Open = Annotated[
    bool | None,
    _output(
        "",
        "Open the page in the browser, or not.",
        "--open/--no-open",
        default="--open without --output",
    ),
]
WeightPlace = Annotated[
    str | None,
    _output(
        "LAYER,I,J",
        "Weight whose update is worked out: its layer, from 1, its input and its unit, from 0.",
        default="of layer 1, the one with the largest gradient",
    ),
]
Notation = Annotated[
    str,
    _output(
        "NOTATION",
        "Whether samples are rows, as here, or columns, as in textbooks.",
        check=_one_of(("rows", "columns")),
    ),
]
HtmlFile = Annotated[
    Path | None,
    _output("FILE", "HTML page to write in place of text.", check=_check_page, default=False),
]
AsPython = Annotated[
    bool, _output("", "Print a NumPy script that computes all of it again.", "--python")
]
Watch = Annotated[
    bool,
    _output(
        "", "Show the decision boundary and the loss while training (two features).", "--watch"
    ),
]
Animate = Annotated[
    Path | None,
    _output("FILE", "Film of the decision boundary and the loss to write (.gif).", default=False),
]
Force = Annotated[bool, _output("", "Replace FILE if it exists.", "--force")]
Probabilities = Annotated[
    bool, _output("", "Add a column with the probability of each class.", "--probabilities")
]
Json = Annotated[bool, _output("", "Print one JSON object instead of text.", "--json")]
Quiet = Annotated[bool, _output("", "Omit tables, progress and notes.", "--quiet")]
Log = Annotated[
    bool, _output("", "Write a line an epoch to standard error, for a log file.", "--log")
]
