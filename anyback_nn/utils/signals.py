"""Let signals wait while something is finished or written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["catch_signals"]

HELD = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C, SIGTERM and SIGHUP are put into; a second one acts at once.

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

    before: dict[int, Any] = {number: signal.getsignal(number) for number in HELD}
    before = {
        number: handler
        for number, handler in before.items()
        if handler not in (None, signal.SIG_IGN)
        # Many programs take SIGHUP as a wish to read their settings again.
        and (handler is signal.SIG_DFL or number in (signal.SIGINT, signal.SIGTERM))
    }
    try:
        for number in before:
            signal.signal(number, catch)
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came and before[came[0]] is not signal.SIG_DFL:
            signal.raise_signal(came[0])
        elif came:
            # As the signal would, but with the clean-up of the contexts around.
            raise SystemExit(128 + came[0])
