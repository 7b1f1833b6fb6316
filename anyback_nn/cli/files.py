"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from anyback_nn.errors import AnybackError

__all__ = ["check_writable", "whole"]


def check_writable(path: Path) -> None:
    """Raise `AnybackError` if ``path`` cannot be made: found out by trying, beside it."""
    try:
        with TemporaryDirectory(dir=_existing_folder(path), prefix="."):
            pass
    except OSError as error:
        raise AnybackError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path to write a file or folder to; it becomes ``path`` at the end.

    If what is done with it fails or is interrupted, nothing of it stays.
    """
    temporary = _existing_folder(path) / f".{path.name}.{secrets.token_hex(4)}"
    try:
        yield temporary
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
    except OSError as error:
        # The user knows nothing of the temporary path.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _existing_folder(path: Path) -> Path:
    """Give the nearest folder above ``path`` that exists."""
    return next(parent for parent in path.absolute().parents if parent.exists())
