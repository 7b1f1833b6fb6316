"""Let signals wait while something is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["hold_signals"]

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def hold_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of the context; a second one does not wait.

    Signals that are ignored stay so, as do handlers that are not Python's. Only the main thread
    receives signals: in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def hold(number: int, frame: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.getsignal(number) for number in HELD}
    before = {number: x for number, x in before.items() if x not in (None, signal.SIG_IGN)}
    try:
        for number in before:
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
