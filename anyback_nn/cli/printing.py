"""Print notes and errors to stderr, tables and JSON to stdout."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from anyback_nn.utils.messages import cut, escape

__all__ = ["Printer", "create_label", "create_table", "discard_output", "print_message", "to_json"]

STYLES = {"error": "bold red", "note": "bold cyan"}

_MOST_LETTERS = 5000
"""Of a message, which may name what is in a file."""


@dataclass(frozen=True)
class Printer:
    """Prints what a command has to say, as its options want it.

    Parameters
    ----------
    as_json : bool
        Whether stdout is for one JSON object alone.
    quiet : bool
        Whether stdout is for the scores alone, and stderr for errors.
    """

    as_json: bool = False
    quiet: bool = False

    def notes(self, messages: Iterable[str]) -> None:
        """Print notes to stderr."""
        for message in () if self.quiet else messages:
            print_message("note", message)

    def show(self, part: RenderableType, *, even_if_quiet: bool = False) -> None:
        """Print a table or text to stdout."""
        if not self.as_json and (even_if_quiet or not self.quiet):
            # Paths may contain brackets, which are no markup.
            _SafeConsole(highlight=False, markup=False).print(part)

    def end(self, result: Mapping[str, Any], written: object = None) -> None:
        """Print the JSON object, or where the result was written to."""
        if self.as_json:
            print(to_json(result))
        elif written is not None:
            print(f"written to {escape(str(written))}")


class _SafeConsole(Console):
    """A console that no name or value in a file can control.

    When nobody reads it any more, the program still writes its files.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else escape(segment.text, keep="\n")
            yield segment._replace(text=text)

    def on_broken_pipe(self) -> None:
        discard_output(self.file)


def discard_output(file: IO[str]) -> None:
    """Redirect standard output or error to nowhere, so that no later write or flush fails."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def print_message(kind: str, message: str) -> None:
    """Print an ``"error"`` or a ``"note"`` to stderr; lines are wrapped on a terminal only."""
    console = _SafeConsole(stderr=True, highlight=False)
    text = Text.assemble((f"{kind}:", STYLES[kind]), f" {cut(message, _MOST_LETTERS)}")
    console.print(text, soft_wrap=not console.is_terminal)


def create_table(*headers: str, numeric: Iterable[str] = ()) -> Table:
    """Create an empty table in the program's style; columns of numbers are right-aligned."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in headers:
        is_numeric = header in numeric
        table.add_column(create_label(header), justify="right" if is_numeric else "left")
    return table


def create_label(name: str, style: str = "", n_letters: int = 60) -> Text:
    """Create a cell or a line of a name or value that may come from a file: cut, without markup."""
    return Text(escape(cut(name, n_letters)), style)


def to_json(value: Mapping[str, Any], indent: int | None = None) -> str:
    """Return JSON; numbers that are not finite, which JSON does not have, become null.

    >>> to_json({"loss": math.nan, "steps": [1.5, -math.inf]})
    '{"loss": null, "steps": [1.5, null]}'
    """
    return json.dumps(_replace_infinite(value), indent=indent, allow_nan=False, default=str)


def _replace_infinite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _replace_infinite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_infinite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
