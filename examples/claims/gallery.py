"""Run all claims as notebooks, and write them, their pictures and an index into a folder.

``python examples/claims/gallery.py [FOLDER] [--backend NAME]``: what each claim measures, draws and
decides is in its script; this makes pages of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from anyback_nn.backends import ENVIRONMENT_VARIABLE

HERE = Path(__file__).parent
SCRIPTS = sorted(HERE.glob("c[1-9]_*.py"))
HELPERS = ("claim.py", "race.py")
"""What the scripts import: it is copied, so that the notebooks can be run again where they are."""

FOLDER = HERE.parents[1] / "docs" / "build" / "gallery"
"""Where the documentation site has it."""

TIMEOUT = 600
"""The most seconds that a cell may take."""


def run_notebook(script: Path, folder: Path, backend: str | None) -> None:
    """Convert a script to a notebook and execute it in the folder, where its picture will be."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    notebook = jupytext.read(script)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    client = NotebookClient(
        notebook, timeout=TIMEOUT, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=os.environ | ({ENVIRONMENT_VARIABLE: backend} if backend else {}))
    nbformat.write(notebook, folder / f"{script.stem}.ipynb")


def write_row(cells: Iterable[object]) -> str:
    """Write a row of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def write_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a Markdown table."""
    lines = [write_row(headers), write_row("---" for _ in headers), *map(write_row, rows)]
    return "\n".join(lines)


def write_anchor(result: dict[str, Any]) -> str:
    """Write the anchor of the heading of a claim, as Markdown makes it."""
    return f"{result['number']}-{result['verdict']}".lower().replace(" ", "-")


def write_section(result: dict[str, Any]) -> str:
    """Write what a claim says, whether it holds, its picture and its figures."""
    findings = [
        (finding["criterion"], finding["measured"], "yes" if finding["holds"] else "**no**")
        for finding in result["findings"]
    ]
    tables = [
        f"{table['title']}:\n\n{write_table(table['headers'], table['rows'])}"
        for table in result["tables"]
    ]
    name = result["name"]
    parts = [
        f"## {result['number']} {result['verdict']}",
        result["statement"],
        f"![{result['alt']}]({result['picture']})",
        write_table(["what is expected", "what was measured", "holds"], findings),
        *tables,
        f"Computed on {result['where']} in {result['seconds']:.0f} seconds. "
        f"[The notebook]({name}.ipynb) has the formulas and the code.",
    ]
    return "\n\n".join(parts)


def write_index(folder: Path) -> Path:
    """Write ``index.md`` from the results in a folder."""
    results = [
        json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("c[1-9]_*.json")
    ]
    results.sort(key=lambda result: result["number"])
    rows = [
        (
            f"[{result['number']}](#{write_anchor(result)}): {result['statement']}",
            f"**{result['verdict']}**",
            "<br>".join(
                f"{'✓' if finding['holds'] else '✗'} {finding['criterion']}: {finding['measured']}"
                for finding in result["findings"]
            ),
        )
        for result in results
    ]
    parts = [
        "# The claims, measured",
        "What an introduction to neural networks says, as experiments. Each verdict is computed "
        "from the figures, so it may also be that a claim does not hold, or only in part.",
        write_table(["claim", "verdict", "deciding figures"], rows),
        *map(write_section, results),
    ]
    index = folder / "index.md"
    index.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return index


def main() -> None:
    """Run the claims and write the index."""
    parser = argparse.ArgumentParser(description="Run all claims and make pages of them.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--backend", help="numpy (default), torch, jax, array-api-strict, ...")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in HELPERS:
        shutil.copyfile(HERE / name, folder / name)
    for script in SCRIPTS:
        print(f"{script.stem} ...", flush=True)
        run_notebook(script, folder, arguments.backend)
    print(f"The index is {write_index(folder)}")


if __name__ == "__main__":
    main()
