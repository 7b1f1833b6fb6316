"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_write", "existing_folder"]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file or folder to; it becomes ``path`` at the end.

    If that fails or is interrupted, nothing of it stays, and what was at ``path`` is unchanged.
    """
    temporary = existing_folder(path) / f".{path.name}.{secrets.token_hex(4)}"
    try:
        yield temporary
        for written in [temporary] if temporary.is_file() else temporary.iterdir():
            # Only what is on the disk may take the place of what was there before.
            with open(written, "rb+") as file:
                os.fsync(file.fileno())
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


def existing_folder(path: Path) -> Path:
    """Return the nearest folder above ``path`` that exists."""
    return next(parent for parent in path.absolute().parents if parent.exists())
