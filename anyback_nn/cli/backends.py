"""``anyback-nn backends``: what can compute on this machine, and why the rest cannot."""

from __future__ import annotations

import os
from typing import Any

from rich.text import Text

from anyback_nn.backends import BACKENDS, ENVIRONMENT_VARIABLE, select
from anyback_nn.backends.libraries import TASKS
from anyback_nn.cli import options
from anyback_nn.cli.printing import Printer, create_table
from anyback_nn.errors import BackendUnavailableError

__all__ = ["backends"]

DEFAULT = "numpy"


def backends(json: options.Json = False) -> None:
    """List the backends that can compute here, their devices, and why others cannot."""
    rows = [try_backend(name) for name in BACKENDS]
    spec = os.environ.get(ENVIRONMENT_VARIABLE) or None

    printer = Printer(as_json=json)
    table = create_table("backend", "version", "devices, or why it cannot compute here")
    for row in rows:
        style = "green" if row["usable"] else "dim"
        details = row["reason"] or ", ".join(row["devices"])
        if missing := [TASKS[task] for task in TASKS if task not in row["computes"]]:
            details += f"; no {', no '.join(missing)}"
        table.add_row(Text(row["name"], style), row["version"] or "-", details)
    printer.show(table)
    if spec is None:
        ending = f"is {DEFAULT}; --backend or {ENVIRONMENT_VARIABLE} selects another"
    else:
        unknown = "" if spec.partition(":")[0] in BACKENDS else ", which is unknown"
        ending = f"is {spec}, from {ENVIRONMENT_VARIABLE}{unknown}"
    printer.show(f"\nThe default {ending}")
    printer.end({"backends": rows, "default": DEFAULT, "environment": spec})


def try_backend(name: str) -> dict[str, Any]:
    """Return whether a backend can compute here, with its version and devices or the reason."""
    version, devices, reason = None, [], None
    try:
        backend = select(name)
        version, devices = backend.version, backend.devices()
    except BackendUnavailableError as error:
        reason = str(error).removeprefix(f"backend {name!r}: ")
    return {
        "name": name,
        "usable": reason is None,
        "version": version,
        "devices": devices,
        "computes": list(BACKENDS[name].computes),
        "reason": reason,
    }
