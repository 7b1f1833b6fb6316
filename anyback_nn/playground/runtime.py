"""onnxruntime-web, which computes the page's graphs: files of its npm package, kept here.

A page is built without a network and without Node. ``nox -s playground`` fetches the files again.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from anyback_nn.errors import AnybackError

__all__ = ["describe", "read", "read_license", "unpack"]

_FOLDER = "runtime"
_SOURCE = "source.json"
"""The package, its version, npm's hash of it, and the names of the two files in it."""


def describe() -> dict[str, str]:
    """Return which package the runtime is from."""
    source: dict[str, str] = json.loads(_open(_SOURCE).read_text(encoding="utf-8"))
    return source


def read(part: str) -> bytes:
    """Read a part, compressed by gzip: ``"module"``, ``"wasm"`` or ``"notices"``."""
    content: bytes = _open(f"{part}.gz").read_bytes()
    return content


def read_license() -> str:
    """Read the licence of onnxruntime."""
    text: str = _open("LICENSE").read_text(encoding="utf-8")
    return text


def unpack(package: bytes, licenses: Path) -> None:
    """Keep the runtime of a package from npm, in place of the one that is here.

    Parameters
    ----------
    package : bytes
        The file that npm has.
    licenses : Path
        A folder with the ``LICENSE`` and the ``ThirdPartyNotices.txt`` of onnxruntime, which npm's
        package leaves out: that of the Python package.

    Raises
    ------
    AnybackError
        The package is not the one that `describe` names.
    """
    source, folder = describe(), Path(str(_open("")))
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if source["integrity"] != f"sha512-{digest}":
        raise AnybackError(
            f"the package has the hash sha512-{digest}: expected {source['integrity']}, that of "
            f"{source['package']} {source['version']}"
        )
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for part in ("module", "wasm"):
            file: Any = archive.extractfile(f"package/{source[part]}")
            _compress(folder / f"{part}.gz", file.read())
    _compress(folder / "notices.gz", (licenses / "ThirdPartyNotices.txt").read_bytes())
    (folder / "LICENSE").write_bytes((licenses / "LICENSE").read_bytes())


def _open(name: str) -> Any:
    return files(__package__) / _FOLDER / name


def _compress(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, 9, mtime=0))
