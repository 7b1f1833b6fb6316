"""Read files, gzipped or plain, and write files and folders whole or not at all."""

from __future__ import annotations

import gzip
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyback_nn.errors import DataError

__all__ = ["atomic_write", "existing_folder", "read_bytes"]

_GZIP_MAGIC = b"\x1f\x8b"


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


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; gzipped content is decompressed, whatever the file's name.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        If the file cannot be opened, or is a gzip file that is damaged or cut short. The caller
        names the file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}): expected a readable file") from error
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"is a damaged gzip file ({error}): download or compress it again"
        ) from error
