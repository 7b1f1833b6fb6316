"""Hooks of mkdocs: the site mirrors the repository, so that relative links hold as they are.

The pages of the site are the README, the pages of ``docs/``, and every file of the repository that
one of them links to: Markdown as a page, code as a page that shows it, a folder as the list of its
files. What is built by other commands, the gallery and the playground, is replaced by the command
if it was not. Names of the package in ``code`` are links to where the site documents them.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks")

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)\s#:]+)")
EMPTY = re.compile(r'\s*\u2013\s*<div class="doc-md-description">\s*</div>')
"""The description of a parameter whose type says all."""
BARE = re.compile(r'(?<=<div class="doc doc-contents ">)(\s*<details class="mkdocstrings-source")')
"""The code of a method without a description: its class has the formula."""
CODE = re.compile(
    r"<(a|h\d|pre|summary)\b.*?</\1>|<code>(?:(?:nn|anyback_nn)\.)?([\w.]+)</code>", re.DOTALL
)
"""Code in text; what must not be linked matches the first half."""
COMMENT = re.compile(r"^ *<!-- .*? -->\n", re.MULTILINE | re.DOTALL)
INDEX = "docs/api/index.md"
SHOWN = {".py": "python", ".pyi": "python", ".toml": "toml", ".json": "json"}
"""The files that a page shows, with their language; others, such as pictures, stay files."""

BUILT = ROOT / "docs" / "build"
"""What other commands have built. Git ignores it."""
GALLERY = """# Gallery

It was not built: run `nox -s gallery`, then `nox -s docs`.
"""
PLAYGROUND = """<!doctype html><title>Playground</title>
<p>It was not built: run <code>anyback-nn play --output docs/build/playground.html</code>, then
<code>nox -s docs</code>.
"""
CODE_PAGE = "---\nsearch: {exclude: true}\nhide: [navigation, toc]\n---\n\n"
MERMAID = "mermaid.min.js"


def on_config(config: MkDocsConfig) -> None:
    """Show diagrams as text if their script is missing: nothing is loaded from other hosts."""
    if not (BUILT / MERMAID).exists():
        config.mdx_configs["pymdownx.superfences"]["custom_fences"] = []


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Replace the files of ``docs/`` by the pages of the mirror."""
    for file in list(files):
        if file.src_dir == config.docs_dir and not file.is_css():
            files.remove(file)
    docs = [path for path in (ROOT / "docs").rglob("*.md") if BUILT not in path.parents]
    pages, waiting = set[Path](), [ROOT / "README.md", *docs, *BUILT.glob("gallery/*.md")]
    while waiting:
        path = waiting.pop()
        if path in pages:
            continue
        pages.add(path)
        if is_static(path):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
            continue
        text = page_text(path)
        files.append(File.generated(config, page_name(path), content=text))
        if path.suffix == ".md" or path.is_dir():
            waiting += linked_files(path, text)
    add_built(files, config)


def add_built(files: Files, config: MkDocsConfig) -> None:
    """Add what other commands build, or the name of the command."""
    if not (BUILT / "gallery" / "index.md").exists():
        files.append(File.generated(config, "docs/build/gallery/index.md", content=GALLERY))
    for name, instead in (("playground.html", PLAYGROUND), (MERMAID, "")):
        path = BUILT / name
        source = {"abs_src_path": str(path)} if path.exists() else {"content": instead}
        files.append(File.generated(config, name, **source))


def is_static(path: Path) -> bool:
    """Return whether the site has a file as it is, without a page."""
    return path.is_file() and path.suffix != ".md" and path.suffix not in SHOWN


def page_name(path: Path) -> str:
    """Return the name of the page that shows a file or a folder of the repository."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        return f"{name}/README.md" if (path / "README.md").exists() else f"{name}/index.md"
    return name if path.suffix == ".md" else f"{name}.md"


def page_text(path: Path) -> str:
    """Return the Markdown of the page that shows a file or a folder of the repository."""
    if path.is_dir():
        names = sorted(item.name for item in path.iterdir() if item.suffix in {".py", ".md"})
        rows = "\n".join(f"- [`{name}`]({name})" for name in names)
        return f"{CODE_PAGE}# `{path.relative_to(ROOT).as_posix()}/`\n\n{rows}\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    name = path.relative_to(ROOT).as_posix()
    return f"{CODE_PAGE}# `{name}`\n\n````{SHOWN[path.suffix]}\n{text}````\n"


def linked_files(path: Path, text: str) -> Iterator[Path]:
    """Yield the files and folders of the repository that a page links to."""
    folder = path if path.is_dir() else path.parent
    for target in LINK.findall(text):
        file = Path(os.path.normpath(folder / target))
        if file.exists() and file.is_relative_to(ROOT):
            yield file


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Link to the pages that show files and folders, and leave out comments."""
    source = ROOT / page.file.src_uri
    if not source.exists() and source.name != "index.md":
        return markdown  # code

    def to_page(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(source.parent / match[1]))
        if not path.exists() or is_static(path):
            return match[0]
        target = page_name(path)
        return "](" + posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(to_page, COMMENT.sub("", markdown))


def on_page_content(html: str, page: Page, **_: Any) -> str:
    """Load the script of diagrams on the pages that have one."""
    if 'class="mermaid"' not in html:
        return html
    return f'{html}<script src="{get_relative_url(MERMAID, page.url)}"></script>'


def on_env(env: Any, config: MkDocsConfig, files: Files) -> None:
    """Link names of the package in ``code`` to their documentation, and tidy descriptions."""
    pages = [file.page for file in files.documentation_pages() if file.page]
    places = find_names(pages)
    for page in pages:

        def link(match: re.Match[str], page: Page = page) -> str:
            name = match[2] or ""
            # A table of the tests may have the name of one of the package, such as LOSSES.
            is_ours = not name.isupper() or page.file.src_uri.startswith("docs/")
            urls = places.get(name, set()) if is_ours else set()
            if len(urls) == 1:
                return f'<a href="{get_relative_url(*urls, page.url)}">{match[0]}</a>'
            if name and page.file.src_uri == INDEX:
                log.warning("%s: %s is documented in %d places", INDEX, name, len(urls))
            return match[0]

        tidy = BARE.sub(r"\1 open", EMPTY.sub("", page.content or ""))
        page.content = CODE.sub(link, tidy)


def find_names(pages: list[Page]) -> dict[str, set[str]]:
    """Return where names are documented: ``Dense``, ``Dense.forward``, ``layers.Dense``, ..."""
    places = defaultdict[str, set[str]](set)
    for page in pages:
        for anchor in re.findall(r'id="(anyback_nn\.[\w.]+)"', page.content or ""):
            url = f"{page.url}#{anchor}"
            # A function may have the name of its module.
            parts = re.sub(r"\b(\w+)\.\1$", r"\1", anchor).split(".")
            is_member = parts[-2].lstrip("_")[:1].isupper()
            for start in range(1, len(parts) - is_member):
                places[".".join(parts[start:])].add(url)
    return places
