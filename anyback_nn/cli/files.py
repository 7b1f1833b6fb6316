"""Find out whether something can be written before hours are spent on making it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from anyback_nn.errors import AnybackError
from anyback_nn.utils.files import existing_folder

__all__ = ["check_output", "check_writable"]


def check_writable(path: Path) -> None:
    """Raise `AnybackError` if ``path`` cannot be made: found out by trying, beside it."""
    try:
        with TemporaryDirectory(dir=existing_folder(path), prefix="."):
            pass
    except OSError as error:
        raise AnybackError(f"cannot write {path}: {error.strerror}") from error


def check_output(path: Path, *, force: bool) -> None:
    """Raise `AnybackError` unless a file may be written here."""
    if path.exists() and not path.is_file():
        raise AnybackError(f"cannot write {path}: it exists and is not a regular file")
    if path.exists() and not force:
        raise AnybackError(f"{path} exists: choose another file, or replace it with --force")
    check_writable(path)
