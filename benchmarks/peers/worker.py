"""One system in a process of its own, told line by line what to do: see `compare.py`.

The training loop is the system's own, and in the main thread. It asks before each epoch whether to
go on, and until it is told so by the next line, it waits.
"""

from __future__ import annotations

import time
from pathlib import Path

from children import Requests
from peers.systems import SYSTEMS
from peers.work import WORKS, read


class Turns:
    """Answers with the seconds and the loss of each epoch, and waits for the next request.

    Parameters
    ----------
    requests : Requests
    """

    def __init__(self, requests: Requests) -> None:
        self.requests = requests
        self.started: float | None = None

    def __call__(self, loss: float | None = None) -> bool:
        """Tell whether another epoch is asked for."""
        now = time.perf_counter()
        self.requests.reply(None if self.started is None else [now - self.started, loss])
        go_on: bool = next(self.requests)["do"] == "epoch"
        self.started = time.perf_counter()
        return go_on


def serve(name: str) -> None:
    """Train one row of the table after another."""
    kind, requests = SYSTEMS[name], Requests()
    for asked in requests:
        work = WORKS[asked["work"]]
        try:
            answer = kind.missing(work)
            if answer is None:
                data = read(work, asked["samples"], Path(asked["folder"]))
                kind(work, *data).train(Turns(requests))
            requests.reply(answer)
        except Exception as error:  # whatever it is, the row of this system says so
            requests.refuse(error)
