"""``anyback-nn backends``: what can compute on this machine, and why the rest cannot."""

from __future__ import annotations

import os
from typing import Any

from anyback_nn.cli import options

__all__ = ["backends"]

DEFAULT = "numpy"


def backends(json: options.Json = False) -> None:
    """List the backends: which can compute here, on which devices, and why others cannot."""
    from rich.text import Text

    from anyback_nn.backends import BACKENDS, ENVIRONMENT_VARIABLE
    from anyback_nn.cli.report import Report, table

    found = [describe(name) for name in BACKENDS]
    asked = os.environ.get(ENVIRONMENT_VARIABLE) or None

    report = Report(as_json=json)
    made = table("backend", "version", "devices, or why it cannot compute here")
    for one in found:
        style = "green" if one["usable"] else "dim"
        said = one["reason"] or ", ".join(one["devices"])
        made.add_row(Text(one["name"], style), one["version"] or "-", said)
    report.show(made)
    if asked is None:
        ending = f"is {DEFAULT}; --backend or {ENVIRONMENT_VARIABLE} selects another"
    else:
        unknown = "" if asked.partition(":")[0] in BACKENDS else ", which is unknown"
        ending = f"is {asked}, from {ENVIRONMENT_VARIABLE}{unknown}"
    report.show(f"\nThe default {ending}")
    report.end({"backends": found, "default": DEFAULT, "environment": asked})


def describe(name: str) -> dict[str, Any]:
    """Tell whether a backend can compute here."""
    from anyback_nn.backends import select
    from anyback_nn.errors import BackendUnavailableError

    try:
        backend = select(name)
        version, devices, reason = backend.version, backend.devices(), None
    except BackendUnavailableError as error:
        version, devices, reason = None, [], str(error).removeprefix(f"backend {name!r}: ")
    return {
        "name": name,
        "usable": reason is None,
        "version": version,
        "devices": devices,
        "reason": reason,
    }
