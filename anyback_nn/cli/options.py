"""The options of all commands, each with its check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anyback_nn.backends import Backend

# The names stand here because the modules that define them import an array library.
ACTIVATIONS = (
    *("relu", "leaky_relu", "elu", "selu", "gelu", "silu"),
    *("tanh", "sigmoid", "softplus", "softmax", "identity"),
)
OPTIMIZERS = ("adam", "adamw", "sgd", "momentum", "nesterov", "adagrad", "rmsprop")
SCHEDULES = ("cosine", "constant")
TASKS = ("auto", "classification", "regression")
DTYPES = ("float32", "float64")
COMPUTE_DTYPES = ("float16", "bfloat16")
GROWTHS = ("batch", "width")


def widths(text: str) -> tuple[int, ...]:
    """Read the widths of hidden layers.

    >>> widths("128,64"), widths("none")
    ((128, 64), ())
    """
    words = [] if text.strip() == "none" else [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise typer.BadParameter(
            f"expected the widths of the hidden layers, such as 128,64, or none; got {text!r}"
        )
    return tuple(map(int, words))


def names(text: str) -> list[str]:
    """Read names that are separated by commas.

    >>> names("numpy, torch")
    ['numpy', 'torch']
    """
    return list(dict.fromkeys(name for word in text.split(",") if (name := word.strip())))


def _some_of(known: Sequence[str]) -> Callable[[str], str]:
    """Make the check that all of some names are known."""

    def check(text: str) -> str:
        if not names(text) or set(names(text)) - set(known):
            raise typer.BadParameter(
                f"expected {', '.join(known)} or {','.join(known)}, got {text!r}"
            )
        return text

    return check


def _check_widths(text: str) -> str:
    widths(text)
    return text


def selected(spec: str | None) -> Backend:
    """Select the backend; a name that does not exist is wrong usage."""
    from anyback_nn.backends import select

    try:
        return select(spec)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--backend'") from error


def check_compute_dtype(compute_dtype: str | None, dtype: str, backend: Backend) -> None:
    """Say that steps cannot compute in this dtype there: wrong usage, too."""
    from anyback_nn.inputs import checks

    try:
        checks.check_compute_dtype(compute_dtype, dtype, backend)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--compute-dtype'") from error


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    """Make the check that a name is known."""

    def check(value: str) -> str:
        if value in known:
            return value
        from anyback_nn.datasets.wording import suggestion

        raise typer.BadParameter(
            f"{value!r} is unknown.{suggestion(value, known)} Expected one of {', '.join(known)}"
        )

    return check


def _checked(fits: Callable[[Any], bool], expected: str) -> Callable[[Any], Any]:
    """Make the check of a value that may be left out."""

    def check(value: Any) -> Any:
        if value is None or fits(value):
            return value
        raise typer.BadParameter(f"expected {expected}, got {value}")

    return check


_AT_LEAST_1 = _checked(lambda value: value >= 1, "at least 1")
_DATA, _NETWORK, _TRAINING = "Data", "Network", "Training"
_TIMING, _COMPUTING, _OUTPUT = "Timing", "Where to compute", "Output"

# Data --------------------------------------------------------------------------------------------

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="A .csv, .csv.gz, .parquet or .npz file, a folder with IDX files, or one of digits, "
        "xor, circles, moons, spirals, blobs.",
    ),
]
OptionalData = Annotated[
    str,
    typer.Argument(metavar="DATA", help="As for train.", show_default=True),
]
Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", show_default=False, help="A folder that train wrote, or a model file."
    ),
]
Target = Annotated[
    str | None,
    typer.Option(metavar="COL", help="Column of a table to predict.", rich_help_panel=_DATA),
]
Answers = Annotated[
    str | None,
    typer.Option(
        metavar="COL",
        help="Column of a table with the answers.",
        show_default="the one of training",
        rich_help_panel=_DATA,
    ),
]
Task = Annotated[
    str,
    typer.Option(
        metavar="TASK",
        callback=_one_of(TASKS),
        help=f"{', '.join(TASKS[:-1])} or {TASKS[-1]}.",
        rich_help_panel=_DATA,
    ),
]
Validation = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        callback=_checked(lambda value: 0 <= value < 1, "a share from 0 to below 1"),
        help="Share of the training data to validate with.",
        rich_help_panel=_DATA,
    ),
]

# Network -----------------------------------------------------------------------------------------

Hidden = Annotated[
    str,
    typer.Option(
        metavar="WIDTHS",
        callback=_check_widths,
        help="Widths of the hidden layers, or none.",
        rich_help_panel=_NETWORK,
    ),
]
Activation = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        callback=_one_of(ACTIVATIONS),
        help=f"{', '.join(ACTIVATIONS[:-1])} or {ACTIVATIONS[-1]}.",
        rich_help_panel=_NETWORK,
    ),
]
Dropout = Annotated[
    float,
    typer.Option(
        metavar="P",
        callback=_checked(lambda value: 0 <= value < 1, "a probability from 0 to below 1"),
        help="Share of the hidden units to silence.",
        rich_help_panel=_NETWORK,
    ),
]

# Training ----------------------------------------------------------------------------------------

Optimizer = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        callback=_one_of(OPTIMIZERS),
        help=f"{', '.join(OPTIMIZERS[:-1])} or {OPTIMIZERS[-1]}.",
        rich_help_panel=_TRAINING,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        callback=_checked(lambda value: value > 0, "a number above 0"),
        help="Length of the first steps.",
        show_default="the optimizer's",
        rich_help_panel=_TRAINING,
    ),
]
Schedule = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        callback=_one_of(SCHEDULES),
        help="How the learning rate goes on: cosine, down to 0 in the last epoch, or constant.",
        rich_help_panel=_TRAINING,
    ),
]
L2 = Annotated[
    float,
    typer.Option(
        "--l2",
        metavar="L",
        callback=_checked(lambda value: value >= 0, "0 or greater"),
        help="Penalty on the squared weights.",
        rich_help_panel=_TRAINING,
    ),
]
Epochs = Annotated[
    int,
    typer.Option(
        metavar="N",
        callback=_AT_LEAST_1,
        help="Passes over the training data.",
        rich_help_panel=_TRAINING,
    ),
]
Steps = Annotated[
    int,
    typer.Option(
        metavar="N",
        callback=_AT_LEAST_1,
        help="Steps of training to compare.",
        rich_help_panel=_TRAINING,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        metavar="N",
        callback=_AT_LEAST_1,
        help="Rows of data for each step.",
        rich_help_panel=_TRAINING,
    ),
]
EarlyStopping = Annotated[
    int | None,
    typer.Option(
        metavar="PATIENCE",
        callback=_AT_LEAST_1,
        help="Stop when the validation loss has not improved for so many epochs; keep the best.",
        show_default=False,
        rich_help_panel=_TRAINING,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        metavar="N",
        callback=_checked(lambda value: value >= 0, "0 or greater"),
        help="Of initial weights, order and dropout.",
        rich_help_panel=_TRAINING,
    ),
]

# Timing ------------------------------------------------------------------------------------------

Grow = Annotated[
    str,
    typer.Option(
        metavar="WHAT",
        callback=_some_of(GROWTHS),
        help=f"What grows: {', '.join(GROWTHS)} or {','.join(GROWTHS)}.",
        rich_help_panel=_TIMING,
    ),
]
Seconds = Annotated[
    float,
    typer.Option(
        metavar="N",
        callback=_checked(lambda value: value > 0, "a number above 0"),
        help="About how long the timing may take.",
        rich_help_panel=_TIMING,
    ),
]

# Where to compute --------------------------------------------------------------------------------

BackendSpec = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="SPEC",
        help="Such as cupy or torch:cuda:0; anyback-nn backends lists them.",
        show_default="$ANYBACK_NN_BACKEND or numpy",
        rich_help_panel=_COMPUTING,
    ),
]
BackendSpecs = Annotated[
    str | None,
    typer.Option(
        "--backends",
        metavar="SPECS",
        help="Such as numpy,torch:cuda:0; separated by commas.",
        show_default="all that can compute here",
        rich_help_panel=_COMPUTING,
    ),
]
Dtypes = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="DTYPES",
        callback=_some_of(DTYPES),
        help=f"{', '.join(DTYPES)} or {','.join(DTYPES)}.",
        rich_help_panel=_COMPUTING,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="DTYPE",
        callback=_one_of(DTYPES),
        help=f"{' or '.join(DTYPES)}.",
        rich_help_panel=_COMPUTING,
    ),
]
ComputeDtype = Annotated[
    str | None,
    typer.Option(
        metavar="DTYPE",
        callback=lambda value: value if value is None else _one_of(COMPUTE_DTYPES)(value),
        help=f"Mixed precision: steps compute in {' or '.join(COMPUTE_DTYPES)}.",
        show_default="as --dtype",
        rich_help_panel=_COMPUTING,
    ),
]

# Output ------------------------------------------------------------------------------------------

RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="New folder for the model.",
        show_default="runs/NAME-N",
        rich_help_panel=_OUTPUT,
    ),
]
PredictionFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="CSV file to write.",
        show_default="standard output",
        rich_help_panel=_OUTPUT,
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Picture to draw, of the differences at each step (.png, .svg or .pdf).",
        show_default=False,
        rich_help_panel=_OUTPUT,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", metavar="", help="Replace FILE if it exists.", rich_help_panel=_OUTPUT),
]
Probabilities = Annotated[
    bool,
    typer.Option(
        "--probabilities",
        metavar="",
        help="Add a column for each class with its probability.",
        rich_help_panel=_OUTPUT,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", metavar="", help="Print one JSON object instead of text.", rich_help_panel=_OUTPUT
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        metavar="",
        help="Leave out tables, progress and notes.",
        rich_help_panel=_OUTPUT,
    ),
]
