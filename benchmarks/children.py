"""Processes of their own for what is measured: its memory, its threads and its imports are its own.

A benchmark starts itself again with ``--child``, and answers there what it is asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
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
        self.send(**asked)
        return self.receive()

    def send(self, **asked: Any) -> None:
        """Ask for something, so that several processes can work at it at the same time."""
        assert self.process.stdin is not None
        # Whoever has ended tells so when its answer is waited for.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(asked), file=self.process.stdin, flush=True)

    def receive(self) -> Any:
        """Wait for the answer.

        Raises
        ------
        ChildError
            It cannot answer.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it has ended"}
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


@contextlib.contextmanager
def children(script: str, names: Iterable[str]) -> Iterator[dict[str, Child]]:
    """Start a `Child` for each name, which it gets as its argument; end them all at the end."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Child(script, name)) for name in names}


class ChildError(RuntimeError):
    """Another process could not do what it was asked for."""


class Requests:
    """What this process is asked for: lines of standard input, each answered by one of output."""

    def __init__(self) -> None:
        # What a library prints must not come between the answers.
        self._answers, sys.stdout = sys.stdout, sys.stderr

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        asked: dict[str, Any] = json.loads(next(sys.stdin))
        return asked

    def reply(self, answer: Any) -> None:
        """Answer the last request."""
        self._write({"answer": answer})

    def refuse(self, error: Exception) -> None:
        """Tell why it cannot be answered."""
        self._write({"error": f"{type(error).__name__}: {error}"[:TEXT]})

    def _write(self, line: dict[str, Any]) -> None:
        print(json.dumps(line), file=self._answers, flush=True)


def run(*arguments: str, **environment: str) -> str:
    """Run Python with these arguments in another process; give what it prints.

    Raises
    ------
    ChildError
        It has failed; says why.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChildError((done.stderr.strip() or "it failed").splitlines()[-1])
    return done.stdout


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
    requests = Requests()
    for asked in requests:
        try:
            requests.reply(answer(**asked))
        except Exception as error:  # whatever it is, the other side is told
            requests.refuse(error)
