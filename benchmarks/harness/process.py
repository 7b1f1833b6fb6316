"""Processes for what is measured, so that its memory, threads and imports are its own.

``python -m benchmarks NAME --worker ...`` is such a process: it answers requests, each a line of
JSON, until its input ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MESSAGE = 400


class WorkerError(RuntimeError):
    """Another process could not do what was requested."""


class Worker:
    """A benchmark in another process.

    Parameters
    ----------
    benchmark : str
        Its name on the command line.
    *arguments : str
        Arguments after ``--worker``.
    """

    def __init__(self, benchmark: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", benchmark, "--worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for the answer, or raise `WorkerError`."""
        self.send(**request)
        return self.receive()

    def send(self, **request: Any) -> None:
        """Send a request, so that several processes can work at the same time."""
        assert self.process.stdin is not None
        # That the process has ended is reported when its answer is awaited.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)

    def receive(self) -> Any:
        """Wait for the answer, or raise `WorkerError`."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError("the process has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def start_workers(benchmark: str, names: Iterable[str]) -> Iterator[dict[str, Worker]]:
    """Start a `Worker` for each name, which is its argument; end all of them on exit."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Worker(benchmark, name)) for name in names}


def serve(answer: Callable[..., Any]) -> None:
    """Answer each line of standard input by a function, which gets it as keyword arguments."""
    # What a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            reply = {"answer": answer(**json.loads(line))}
        except Exception as error:  # whatever it is, it is reported to the other process
            reply = {"error": f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]}
        print(json.dumps(reply), file=answers, flush=True)


def run_python(*arguments: str, **environment: str) -> str:
    """Run Python in another process and return what it prints, or raise `WorkerError`."""
    result = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise WorkerError((result.stderr.strip() or "it failed").splitlines()[-1])
    return result.stdout
