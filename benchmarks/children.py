"""Processes of their own for what is measured: its memory, its threads and its imports are its own.

A benchmark starts itself again with ``--child``, and answers there what it is asked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

TEXT = 400
"""How many characters of what a process complained about are shown."""


class Child:
    """A benchmark in another process.

    Parameters
    ----------
    script : str
        The ``__file__`` of the benchmark.
    *arguments : str
        What it gets behind ``--child``.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, script, "--child", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **asked: Any) -> Any:
        """Ask for something and wait for the answer.

        Raises
        ------
        ChildError
            It cannot answer.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(asked), file=self.process.stdin, flush=True)
            answer = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise ChildError("it has ended") from None
        if "error" in answer:
            raise ChildError(answer["error"])
        return answer["answer"]

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class ChildError(Exception):
    """Another process could not do what it was asked for."""


def is_child() -> bool:
    """Tell whether this process was started by `Child`."""
    return sys.argv[1:2] == ["--child"]


def serve(answer: Callable[..., Any]) -> None:
    """Answer each line of standard input by one of standard output.

    Parameters
    ----------
    answer : callable
        Gets what was asked for, by keywords.
    """
    # What a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            reply = {"answer": answer(**json.loads(line))}
        except Exception as error:  # whatever it is, the other side is told
            reply = {"error": f"{type(error).__name__}: {error}"[:TEXT]}
        print(json.dumps(reply), file=answers, flush=True)


def use_peers() -> None:
    """Make the modules of `benchmarks/peers` importable, which are scripts of one folder."""
    folder = str(Path(__file__).parent / "peers")
    if folder not in sys.path:
        sys.path.append(folder)
