"""Let signals wait while something is finished or written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["catch_signals", "hold_signals"]

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C and SIGTERM are put into, instead of acting; a second one acts.

    What is still in the list at the end of the context is raised then. Signals that are ignored
    stay so, as do handlers that are not Python's. Only the main thread receives signals: in others
    the list stays empty.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def catch(number: int, frame: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.getsignal(number) for number in HELD}
    before = {number: x for number, x in before.items() if x not in (None, signal.SIG_IGN)}
    try:
        for number in before:
            signal.signal(number, catch)
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def hold_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of the context; a second one does not wait."""
    with catch_signals():
        yield
