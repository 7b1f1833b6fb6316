"""What the pages say is what the package does: their code runs, their tables and links are right.

A block of code that cannot run here, because it installs something or needs a GPU, is marked by the
line before it, which no reader sees::

    <!-- not run: installs packages -->

One that needs a library in addition to those of its page runs where that is installed::

    <!-- not run: without dask_ml -->

What is no code, such as a diagram, is a block of ``text``.
"""

from __future__ import annotations

import inspect
import re
import shlex
import struct
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

import anyback_nn as nn
import anyback_nn.sklearn
from anyback_nn.backends import ENVIRONMENT_VARIABLE
from anyback_nn.cli import COMMANDS, load_command, main
from anyback_nn.network.initializers import Initializer

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
READING = ROOT / "docs" / "reading_the_code.md"
BUILT = ROOT / "docs" / "build"
"""What `nox -s docs` and `nox -s gallery` make; it is not in the repository."""
DOCS = sorted(page for page in (ROOT / "docs").rglob("*.md") if BUILT not in page.parents)
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *DOCS,
    *sorted((ROOT / "anyback_nn").rglob("*.md")),
]
NO_CODE = ("text", "mermaid")

QUICK = {
    "verify": ["--backends", "numpy,array-api-strict"],
    "bench": ["--backends", "numpy", "--seconds", "0.1"],
}
"""The options that are added to commands: on all backends, they take half a minute."""

NEEDED = {
    "onnx.md": "ndonnx",
    "large_data.md": "dask",
    "CONTRIBUTING.md": "dask",
    "see_inside.md": "jinja2",
}
"""The libraries that the code of a page needs. It runs where they are installed, in their rows."""

each_page = pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=str(page.relative_to(ROOT)),
            marks=[pytest.mark.needs(NEEDED[page.name])] if page.name in NEEDED else [],
        )
        for page in PAGES
    ],
)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def page_table(page: str, header: str) -> str:
    """Return the table of a page that begins with this header."""
    _, _, below = read(ROOT / page).partition(header)
    table, _, _ = below.partition("\n\n")
    return header + table.rstrip("\n")


# Code --------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A block of code, the number of its first line, and why it is not run."""

    language: str
    code: str
    line: int
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of code of a page."""
    text = read(page)
    fenced = re.compile(r"^( *)(?:<!-- not run: (.+?) -->\n *)?```(\w*)\n(.*?)^ *```$", re.M | re.S)
    return [
        Block(
            language=found[3],
            code=textwrap.dedent(found[4]),
            line=text.count("\n", 0, found.start(4)) + 1,
            reason=found[2],
        )
        for found in fenced.finditer(text)
    ]


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """The files that the pages speak of."""
    folder = tmp_path_factory.mktemp("files")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 5)).astype("float32")
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", (x[:, 0] > 0).astype("int64"))
    rooms, town = draw.integers(1, 9, 200), draw.choice(["Oslo", "Rome"], 200).tolist()
    table = pl.DataFrame({"rooms": rooms, "town": town, "price": rooms + draw.normal(size=200)})
    table = table.with_columns(pl.when(pl.col("rooms") < 8).then("rooms"))
    table.write_csv(folder / "table.csv")
    table.drop("price").write_csv(folder / "new.csv")
    table.write_parquet(folder / "homes.parquet")
    patients, weeks = draw.integers(1, 20, 200), draw.integers(1, 52, 200)
    visits = {"patient": patients, "week": weeks, "age": patients + 20}
    values = {"cost": draw.uniform(10, 90, 200), "hours": draw.uniform(1, 9, 200)}
    pl.DataFrame(visits | values).write_csv(folder / "visits.csv")
    table.write_parquet(folder / "later.parquet")
    (folder / "fashion-mnist").mkdir()
    for part, n_rows in (("train", 200), ("t10k", 50)):
        images = draw.integers(0, 256, (n_rows, 4, 4)).astype("uint8")
        for kind, values in (("images-idx3", images), ("labels-idx1", images[:, 0, 0] // 128)):
            head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            path = folder / "fashion-mnist" / f"{part}-{kind}-ubyte"
            path.write_bytes(head + values.tobytes())
    return folder


@pytest.fixture
def folder(files, tmp_path, monkeypatch) -> Path:
    """A folder with these files, in which a page's code runs."""
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "warnoptions", ["error"])  # warnings stay errors, as in all tests
    return tmp_path


@each_page
def test_the_code_of_a_page_runs(page, folder):
    names = {"__name__": "page"}
    for block in blocks(page):
        without = re.fullmatch(r"without (\w+)", block.reason or "")
        if block.reason is None or (without and find_spec(without[1])):
            run(page, block, folder, names)


def run(page: Path, block: Block, folder: Path, names: dict) -> None:
    """Run a block; those of Python in the names that the page's blocks before it have defined."""
    match block.language:
        case "python" if re.search(r"^def test_", block.code, re.MULTILINE):
            (folder / "test_page.py").write_text(block.code)  # for the next `pytest`
        case "python":
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
        case "sh":
            for line in block.code.splitlines():
                run_command(line)
        case "toml":
            (folder / "pyproject.toml").write_text(block.code)  # for the next `pytest`
        case language:
            assert language in NO_CODE, f"{page}:{block.line}: expected a language that runs"


def run_command(line: str) -> None:
    """Run a line of a shell."""
    command, *_ = line.split("|")
    match shlex.split(command, comments=True):
        case []:
            pass
        case ["anyback-nn", *words]:
            assert main([*words, *QUICK.get(words[0], ())]) == 0
        case ["pytest", *words]:
            subprocess.run([sys.executable, "-m", "pytest", *words], check=True)
        case words:
            pytest.fail(f"{words}: mark the block by <!-- not run: WHY -->, or run it here")


def test_a_mark_and_the_line_of_a_block_are_read(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n<!-- not run: why -->\n```sh\npip\n```\n\n- b\n\n  ```python\n  1\n  ```\n"
    )
    assert blocks(page) == [Block("sh", "pip\n", 5, "why"), Block("python", "1\n", 11, None)]


# Tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["README.md", "docs/backends.md"])
def test_the_table_of_backends_is_their_declaration(page):
    head = "| name | computes on | install | for |\n|---|---|---|---|\n"
    rows = (
        f"| `{name}` | {library.hardware} | "
        f"{'-' if name == 'numpy' else f'''`pip install '{library.requirement}'`'''} | "
        f"{library.purpose} |"
        for name, library in nn.BACKENDS.items()
    )
    assert page_table(page, head) == head + "\n".join(rows)


def test_the_example_of_a_backend_is_its_file():
    code = (ROOT / "anyback_nn/backends/dask.py").read_text(encoding="utf-8")
    assert code in [block.code for block in blocks(ROOT / "CONTRIBUTING.md")]


def test_the_table_of_tests_has_every_row_of_the_matrix():
    table = page_table("docs/testing.md", "| row | what it catches")
    assert re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE) == list(nn.testing.MATRIX)


def test_the_table_of_what_there_is_has_every_public_class():
    table = page_table("docs/guide.md", "| kind | classes |")
    public = {name: getattr(nn, name) for name in nn.__all__}
    classes = {name: value for name, value in public.items() if isinstance(value, type)}
    kinds = (nn.Layer, nn.Loss, nn.Optimizer, nn.Schedule, Initializer)
    bases = {"Activation", "Network", *(kind.__name__ for kind in kinds)}
    expected = {name for name, value in classes.items() if issubclass(value, kinds)} - bases
    assert set(re.findall(r"`(\w+)`", table)) == expected


def test_the_table_of_commands_is_that_of_the_help():
    head = "| command | what it does |\n|---|---|\n"
    rows = (f"| `{name}` | {description} |" for name, description in COMMANDS.items())
    assert page_table("docs/command_line.md", head) == head + "\n".join(rows)


def test_the_table_of_options_is_that_of_the_help():
    head = f"| option | | {' | '.join(COMMANDS)} |\n|---|---|{'---|' * len(COMMANDS)}\n"
    assert page_table("docs/command_line.md", head) == head + options_table()


def options_table() -> str:
    """Return the rows of the options, each with its default for every command that has it."""
    options = defaultdict(dict)
    for command in COMMANDS:
        for option in load_command(command).params:
            if option.param_type_name == "option" and option.name != "help":
                name = f"`{option.opts[0]} {option.metavar or ''}".strip() + "`"
                options[name, option.help][command] = shown_default(option)
    return "\n".join(
        f"| {name} | {description} | {' | '.join(defaults.get(one, '') for one in COMMANDS)} |"
        for (name, description), defaults in sorted(options.items())
    )


def shown_default(option) -> str:
    """Return the default of an option as its help shows it."""
    names = {"None": "none", "False": "off"}
    default = option.show_default if isinstance(option.show_default, str) else str(option.default)
    return f"`{names.get(default, default)}`"


@pytest.mark.parametrize("package", [nn, nn.testing, nn.plotting], ids=lambda p: p.__name__)
def test_every_public_name_exists_and_is_in_the_stub(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
    stub = read(Path(package.__file__).with_suffix(".pyi"))
    assert sorted(package.__all__) == sorted(re.findall(r" as (\w+)$", stub, re.MULTILINE))


# Names -------------------------------------------------------------------------------------------


PUBLIC = (
    nn,
    nn.backends,
    nn.datasets,
    nn.distributed,
    nn.errors,
    nn.plotting,
    nn.random,
    nn.testing,
    anyback_nn.sklearn,
)
"""The modules whose names are public."""


def public_names(module: ModuleType) -> dict[str, object]:
    """Return the public names of a module with their objects, without its modules."""
    values = {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in values.items() if not isinstance(value, ModuleType)}


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_every_public_name_is_described_with_its_parameters(module):
    for name, value in public_names(module).items():
        if callable(value):
            assert value.__doc__, name
            if not (isinstance(value, type) and issubclass(value, BaseException)):
                missing = set(inspect.signature(value).parameters) - described_names(value)
                assert not missing, f"{name}: no description of {', '.join(sorted(missing))}"


def described_names(value: object) -> set[str]:
    """Return the parameters and attributes that a docstring, or those of the bases, describe."""
    names = set[str]()
    for owner in value.__mro__ if isinstance(value, type) else [value]:
        for part in re.findall(
            r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)",
            inspect.cleandoc(owner.__doc__ or ""),
            re.MULTILINE | re.DOTALL,
        ):
            for head in re.findall(r"^(\S.*?)(?: : .*)?$", part, re.MULTILINE):
                names |= {name.lstrip("*") for name in head.split(", ")}
    return names


def test_names_that_a_docstring_describes_are_read():
    def function(*a, b, c):
        """Do it.

        Parameters
        ----------
        *a, b : int
            Numbers : those to add.

        Returns
        -------
        c : int
        """

    assert described_names(function) == {"a", "b"}


def test_the_table_of_the_reference_has_every_public_name():
    table = page_table("docs/api/index.md", "| page | names |")
    listed = {id(attrgetter(name)(nn)) for name in re.findall(r"`([\w.]+)`", table)}
    assert listed == {id(value) for module in PUBLIC for value in public_names(module).values()}


def test_the_pages_of_the_reference_describe_every_public_name():
    described = {id(value) for page in DOCS for value in described_objects(read(page))}
    for module in PUBLIC:
        missing = [name for name, it in public_names(module).items() if id(it) not in described]
        assert not missing, f"{module.__name__}: {missing} are on no page of docs/api/"


def described_objects(text: str) -> Iterator[object]:
    """Yield what the lines ``::: module`` of a page, with their options, describe."""
    for path, options in re.findall(r"^::: (\S+)\n((?: +.*\n)*)", text, re.MULTILINE):
        module = import_module(path)
        members = re.search(r"members: \[(.*?)\]", options, re.DOTALL)
        filters = re.search(r"filters: \[(.*)\]", options)
        rules = re.findall(r'"(.*?)"', filters[1]) if filters else []
        names = members[1].replace(",", " ").split() if members else module.__all__
        for name in names:
            if members or is_kept(name, rules):
                yield getattr(module, name)


def is_kept(name: str, rules: list[str]) -> bool:
    """Return whether mkdocstrings keeps a name: the last rule that matches it decides."""
    for rule in reversed(rules):
        if re.search(rule.lstrip("!"), name):
            return not rule.startswith("!")
    return all(rule.startswith("!") for rule in rules)


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = read(ROOT / "mkdocs.yml").partition("\nnav:\n")[2]
    pages = set(re.findall(r"(docs/\S+\.md)$", navigation, re.MULTILINE))
    built = "docs/build/gallery/index.md"
    assert pages - {built} == {page.relative_to(ROOT).as_posix() for page in DOCS}


# Links -------------------------------------------------------------------------------------------


@each_page
def test_the_links_of_a_page_lead_somewhere(page):
    text = re.sub(r"^ *```.*?^ *```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert not heading or heading in anchors(file), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len(read(README).splitlines()) <= 150


def test_each_name_is_in_the_file_that_answers_the_question():
    rows = re.findall(r"^\| [^|]+\? \| (.+?) \| (.+?) \|$", read(READING), re.MULTILINE)
    assert len(rows) >= 30
    for links, names in rows:
        files = [(READING.parent / path) for path in re.findall(r"\]\(([^)#]+\.py)\)", links)]
        code = "".join(read(path) for path in files)
        for name in re.findall(r"`([\w.]+)`", names if files else ""):
            for part in name.split("."):
                assert re.search(rf"\b(def|class) {part}\b", code), (name, links)
