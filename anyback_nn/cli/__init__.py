"""The command line: one file per command.

`COMMANDS` is all that ``anyback-nn --help`` needs: the module of a command is imported only when
the command runs or shows its own help. Commands raise; `main` alone turns errors into messages and
exit statuses.
"""

from __future__ import annotations

import importlib
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import anyback_nn
from anyback_nn.cli.printing import discard_output, print_message
from anyback_nn.errors import AnybackError
from anyback_nn.utils.messages import describe_error, escape

__all__ = ["COMMANDS", "main"]

PROGRAM = "anyback-nn"

COMMANDS = {
    "train": "Train a network on DATA, test it, and write it to a new folder.",
    "evaluate": "Measure the model of RUN on DATA with known targets.",
    "predict": "Predict the target of each row of DATA with the model of RUN, as CSV.",
    "export": "Write the model of RUN to FILE as ONNX, for programs without this library.",
    "report": "Write a report of RUN as one HTML page: scores, curves, mistakes, what to look at.",
    "play": "Write a page in which networks are trained in the browser, and open it.",
    "inspect": "Show what is in RUN: network, settings, history and data.",
    "explain": "Walk a sample through the network of RUN: every equation in numbers.",
    "verify": "Train on several backends side by side, and compare each step with NumPy's.",
    "bench": "Time a training step on every backend.",
    "backends": "List the backends that can compute here, their devices, and why others cannot.",
}
"""The first line of each command's help. A command is the function of its name in the module of its
name."""

UsageError: Any = typer.BadParameter.__mro__[1]
"""The base of all errors about how the program was called; typer does not export it."""


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = load_command(name)
        return name, command, rest


def load_command(name: str) -> Any:
    """Import a command, with its options and its help."""
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name)(getattr(importlib.import_module(f"{__name__}.{name}"), name))
    return typer.main.get_command(app)


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _help in COMMANDS.items():
    app.command(_name, help=_help)(lambda: None)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"{PROGRAM} {anyback_nn.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
    show_traceback: Annotated[
        bool,
        typer.Option("--traceback", help="Show where an error came from (with every command)."),
    ] = False,
) -> None:
    """Train neural networks on NumPy, CuPy, PyTorch or JAX, and use them.

    Begin with: [bold]anyback-nn train digits[/bold]
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, by default with the arguments of the process.

    Return the exit status: 0, 2 if the program was called in a wrong way, 130 after Ctrl-C, 143
    after SIGTERM in training, 1 for any other failure.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not sys.warnoptions:  # unless python -W or PYTHONWARNINGS asks for them
        warnings.simplefilter("ignore")
    try:
        status = _run([word for word in words if word != "--traceback"])
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output(sys.stdout)  # who reads has read enough, as with `| head`
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if ranks := sys.modules.get(f"{__name__}.ranks"):
            ranks.speak_up()
        if "--traceback" in words:
            sys.stderr.write(escape(traceback.format_exc(), keep="\n"))
        status = _report_error(error)
    if ranks := sys.modules.get(f"{__name__}.ranks"):
        ranks.end(status)
    return status


def _run(arguments: list[str]) -> int:
    """Run a command; its errors are raised, whereas ``app()`` would handle some of them."""
    command = typer.main.get_command(app)
    try:
        with command.make_context(PROGRAM, arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _report_error(error: BaseException) -> int:
    """Print what was wrong to stderr, and return the exit status."""
    if isinstance(error, UsageError):
        command = error.ctx.command_path if error.ctx else PROGRAM
        print_message("error", f"{error.format_message()}\nSee: {command} --help")
        return 2
    if isinstance(error, KeyboardInterrupt):
        print_message("error", "interrupted")
        return 130
    if isinstance(error, AnybackError) or (isinstance(error, OSError) and error.strerror):
        message = describe_error(error)
    else:
        message = f"{type(error).__name__}: {error} (unexpected: --traceback shows where)"
    print_message("error", message)
    return 1
