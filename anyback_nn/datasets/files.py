"""Read the bytes of a file, gzipped or plain."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from anyback_nn.errors import DataError

__all__ = ["read_bytes"]

_GZIP_MAGIC = b"\x1f\x8b"


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
