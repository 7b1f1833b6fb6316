"""What the README says is what the package does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import anyback_nn as nn

README = Path(__file__).parents[1] / "README.md"


def backend_table() -> str:
    """The table of backends as their declaration has it."""
    head = "| name | computes on | install | for |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{name}` | {one.hardware} | "
        f"{'-' if name == 'numpy' else f'''`pip install '{one.requirement}'`'''} | {one.purpose} |"
        for name, one in nn.BACKENDS.items()
    )


def test_the_table_of_backends_is_their_declaration():
    assert backend_table() in README.read_text(encoding="utf-8")


def test_the_table_of_tests_has_every_row_of_the_matrix():
    _, _, below = README.read_text(encoding="utf-8").partition("| row | what it catches")
    table, _, _ = below.partition("\n\n")
    assert re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE) == list(nn.testing.MATRIX)


def test_the_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 5
    for example in examples:
        exec(example, {"__name__": "readme"})
    assert (tmp_path / "digits.safetensors").is_file()


@pytest.mark.parametrize("package", [nn, nn.testing], ids=lambda package: package.__name__)
def test_every_public_name_exists_and_is_in_the_stub(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
    stub = Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert sorted(package.__all__) == sorted(re.findall(r" as (\w+)$", stub, re.MULTILINE))
