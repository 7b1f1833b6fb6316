"""What the claims share: arguments, figures with their spread, verdicts and pictures.

A claim is a script that measures, draws, and lets its function ``judge`` decide from the numbers
which of its findings hold. It also writes a JSON file, from which ``gallery.py`` makes the
index.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyback_nn as nn

BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
"""Colours that people who see fewer colours can tell apart (M. Okabe and K. Ito, 2008)."""

STYLE = {
    "figure.constrained_layout.use": True,
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": f"cycler('color', {[BLUE, ORANGE, GREEN, PINK]})",
    "legend.frameon": False,
    "legend.fontsize": 12,
    "savefig.dpi": 120,
}
"""Large letters: the pictures are also read on phones."""


# Findings ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One thing that a claim says, what was measured of it, and whether it is so."""

    criterion: str
    measured: str
    holds: bool


def decide(findings: Sequence[Finding]) -> str:
    """Return the verdict on a claim: it holds if all of its findings do."""
    if all(finding.holds for finding in findings):
        return "holds"
    return "holds in part" if any(finding.holds for finding in findings) else "does not hold"


def spread(values: Iterable[float], form: str = ".3f") -> str:
    """Return the mean of some numbers, and their range.

    >>> spread([0.5, 0.75, 1.0], ".2f")
    '0.75 (0.50 to 1.00)'
    """
    values = [float(value) for value in values]
    mean, low, high = (
        format(value, form) for value in (sum(values) / len(values), min(values), max(values))
    )
    return mean if low == high else f"{mean} ({low} to {high})"


# The claim ---------------------------------------------------------------------------------------


class Claim:
    """One claim: where it is computed, its tables, and the files that it writes.

    Parameters
    ----------
    name : str
        The name of the script, and of the files that are written.
    statement : str
        The claim, in a sentence.
    """

    def __init__(self, name: str, statement: str) -> None:
        import matplotlib.pyplot as plt

        plt.rcParams.update(STYLE)
        self.name, self.statement = name, statement
        parser = argparse.ArgumentParser(prog=f"{name}.py", description=statement)
        parser.add_argument("--backend", help="numpy (default), torch, jax, array-api-strict, ...")
        parser.add_argument("--output", type=Path, default=Path(), help="folder of the picture")
        # In a notebook, the arguments are those of Jupyter.
        arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
        self.backend, self.output = nn.select(arguments.backend), arguments.output
        self.tables: list[dict[str, Any]] = []
        self.start = time.perf_counter()
        print(f"{self.number}: {statement}\nComputing on {self.where}.")

    @property
    def number(self) -> str:
        """The number of the claim: C1 to C8."""
        return self.name.partition("_")[0].upper()

    @property
    def where(self) -> str:
        """The backend in words."""
        return f"{self.backend.spec} {self.backend.version} ({self.backend.device_label})"

    def show(self, title: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table, and keep it for the index."""
        cells = [[str(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(headers, *cells)]
        print(f"\n{title}")
        for row in (headers, ["-" * width for width in widths], *cells):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        self.tables.append({"title": title, "headers": list(headers), "rows": cells})

    def conclude(self, findings: Sequence[Finding], figure: Any, alt: str) -> None:
        """Print the verdict, and write the picture and the figures.

        ``alt`` says in a sentence what the picture shows.
        """
        seconds = time.perf_counter() - self.start
        verdict = decide(findings)
        print(f"\n{self.number} {verdict}:")
        for finding in findings:
            print(f"  {'yes' if finding.holds else 'NO '}  {finding.criterion}: {finding.measured}")
        self.output.mkdir(parents=True, exist_ok=True)
        picture = self.output / f"{self.name}.png"
        figure.savefig(picture)
        result = {
            "number": self.number,
            "name": self.name,
            "statement": self.statement,
            "verdict": verdict,
            "findings": [asdict(finding) for finding in findings],
            "tables": self.tables,
            "picture": picture.name,
            "alt": alt,
            "where": self.where,
            "seconds": round(seconds, 1),
        }
        # Comparisons of NumPy numbers are NumPy booleans.
        text = json.dumps(result, indent=1, ensure_ascii=False, default=bool)
        picture.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        print(f"{seconds:.0f} seconds; the picture is {picture}")
