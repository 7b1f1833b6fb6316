"""One input of a fuzzer: what it may do, and what is a failure."""

from __future__ import annotations

import resource
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from fuzz_formats import FORMATS, MEMORY_LIMIT

from anyback_nn.errors import AnybackError
from anyback_nn.utils.memory import limit_memory

MOST_GROWTH = 2**30
"""The bytes by which the memory of the process may grow."""

_FORBIDDEN = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class"}
_seen: list[str] = []


def watch() -> None:
    """Note from now on what would execute code that a file names."""

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN or (event == "import" and "fuzz_trap" in str(arguments[0])):
            _seen.append(f"{event} {arguments!r}")

    sys.addaudithook(note)


def make_input(name: str, seed: str, number: int) -> bytes:
    """Return the input of a format that has this number."""
    draw, form = Random(f"{name}:{seed}:{number}"), FORMATS[name]
    return form.mutate(draw, draw.choice(form.seeds()))


def find_failure(name: str, path: Path) -> str | None:
    """Read an input; return what is wrong with how that ended."""
    _seen.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    failure = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with limit_memory(MEMORY_LIMIT), suppress(AnybackError):
                FORMATS[name].run(path)
        except BaseException:  # PanicException of polars is no Exception
            failure = traceback.format_exc()
    growth = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if growth > MOST_GROWTH:
        failure = f"took {growth / 1e9:.1f} GB"
    return f"executed: {_seen}" if _seen else failure
