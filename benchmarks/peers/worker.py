"""One system in a process of its own, told by lines of JSON what to do: see `compare.py`."""

from __future__ import annotations

import json
import sys
from typing import Any

from systems import SYSTEMS
from work import WORKS, rows


def main(name: str) -> None:
    """Answer each line of standard input by one of standard output."""
    kind = SYSTEMS[name]
    system: Any = None
    # What a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "versions":
            answer: Any = kind.versions()
        elif asked["do"] == "prepare":
            work = WORKS[asked["work"]]
            reason = kind.missing(work)
            system = None
            if reason is None:
                system = kind(work, *rows(work, asked["samples"]))
            answer = reason
        else:
            answer = system.timed()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
