"""The command line: one file a command.

Nothing heavy is imported until a command runs, so that ``--help`` answers at once. Commands raise;
`main` alone turns errors into messages and exit statuses.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import anyback_nn
from anyback_nn.cli import backends, bench, evaluate, predict, train, verify
from anyback_nn.errors import AnybackError

__all__ = ["main"]

PROGRAM = "anyback-nn"

UsageError: Any = typer.BadParameter.__mro__[1]
"""The base of all errors about how the program was called; typer does not export it."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("verify")(verify.verify)
app.command("bench")(bench.bench)
app.command("backends")(backends.backends)


def _show_version(asked: bool) -> None:
    if asked:
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
    """Run the program.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        The exit status: 0, 2 if the program was called in a wrong way, 1 for any other failure.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not sys.warnoptions:  # unless python -W or PYTHONWARNINGS asks for them
        warnings.simplefilter("ignore")
    try:
        status = _run([word for word in given if word != "--traceback"])
        sys.stdout.flush()
    except BrokenPipeError:
        from anyback_nn.cli.report import stop_writing

        stop_writing()  # nobody reads any more, as with `| head`
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if "--traceback" in given:
            traceback.print_exc()
        return _report(error)
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


def _report(error: BaseException) -> int:
    """Say on stderr what was wrong, and give the exit status."""
    from anyback_nn.cli.report import say

    if isinstance(error, UsageError):
        command = error.ctx.command_path if error.ctx else PROGRAM
        say("error", f"{error.format_message()}\nSee: {command} --help")
        return 2
    if isinstance(error, KeyboardInterrupt):
        message = "interrupted"
    elif isinstance(error, AnybackError):
        message = str(error)
    elif isinstance(error, OSError) and error.strerror:
        message = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    else:
        message = f"{type(error).__name__}: {error} (not foreseen: --traceback shows where)"
    say("error", message)
    return 1
