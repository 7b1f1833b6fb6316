"""Read files, compressed or plain, and write files whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import platform
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from anyback_nn.errors import DataError
from anyback_nn.utils.memory import require_memory
from anyback_nn.utils.messages import quoted_list

__all__ = ["atomic_write", "decompress", "existing_folder", "read_bytes", "read_what_fits"]

_MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b"),
    # Of a block, or of the end of an empty file: a table may begin with the letters BZh.
    "bzip2": re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"),
    "zip": re.compile(rb"PK(\x03\x04|\x05\x06)"),
}

_BLOCK = 2**22
"""The bytes that are unpacked at a time."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file to; it becomes ``path`` at the end.

    If that fails or is interrupted, nothing of it stays, and what was at ``path`` is unchanged. A
    file that is replaced keeps its mode, and a link to it stays a link. What processes that were
    killed have left in the same folder is removed.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    folder, place = existing_folder(path), _hash_place()
    _remove_remains(folder, place)
    name = os.fsencode(path.name)[:180].decode(errors="ignore")
    temporary = folder / f".{name}.{place}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield temporary
        # Only what is on the disk may take the place of what was there before.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if path.is_file():
            shutil.copymode(path, temporary)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        # The user knows nothing of the temporary path.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _hash_place() -> str:
    """Return what distinguishes the process numbers here from those of other machines."""
    place = platform.node()
    with suppress(OSError):  # Linux: containers may share the name of a machine
        place += os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(place.encode()):08x}"


def _remove_remains(folder: Path, place: str) -> None:
    """Remove the temporary files of processes that are dead."""
    if os.name != "posix":  # elsewhere, asking for a process may end it
        return
    pattern = re.compile(rf"\..*\.{place}-(\d+)-[0-9a-f]{{8}}", re.DOTALL)
    with suppress(OSError):
        for path in folder.glob(f".*.{place}-*"):
            if match := pattern.fullmatch(path.name):
                try:
                    os.kill(int(match[1]), 0)
                except ProcessLookupError:
                    path.unlink(missing_ok=True)
                except (OSError, OverflowError):  # a process of another user, or no number of one
                    continue


def _sync_folder(folder: Path) -> None:
    """Let the names in a folder be on the disk, where the system can."""
    with suppress(OSError):  # Windows, folders that cannot be read, some file systems
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def existing_folder(path: Path) -> Path:
    """Return the nearest folder above ``path`` that exists."""
    return next(parent for parent in path.absolute().parents if parent.exists())


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, decompressed, see `decompress`.

    Raises
    ------
    DataError
        If the file cannot be opened, or is compressed and damaged. The caller names the file.
    """
    try:
        require_memory(path.stat().st_size, "it takes", "take a part of it")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}): expected a readable file") from error
    return decompress(content)


def decompress(content: bytes) -> bytes:
    """Return what was compressed as gzip, bzip2 or a zip file of one file, else the content.

    Which one it is shows in the first bytes, whatever the file's name.

    Raises
    ------
    DataError
        If it is damaged or cut short, if a zip file has no file, several, or a password, or if the
        content is larger than the free memory.
    """
    kind = next((kind for kind, magic in _MAGIC.items() if magic.match(content)), None)
    try:
        match kind:
            case "gzip":
                with gzip.open(io.BytesIO(content)) as stream:
                    return read_what_fits(stream)
            case "bzip2":
                with bz2.open(io.BytesIO(content)) as stream:
                    return read_what_fits(stream)
            case "zip":
                return _unzip(content)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile has errors of many kinds for what nobody has written
        raise DataError(
            f"is a damaged {kind} file ({error}): download or compress it again"
        ) from error
    return content


def _unzip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
        if len(files) != 1:
            raise DataError(
                f"is a zip file with {quoted_list(files) or 'nothing'} in it: expected one file; "
                "unpack it"
            )
        try:
            with archive.open(files[0]) as stream:
                return read_what_fits(stream)
        except (RuntimeError, NotImplementedError) as error:  # a password, or another method
            raise DataError(f"cannot be unpacked ({error}): unpack it by other means") from error


def read_what_fits(stream: Any, what: str = "unpacked it takes more than") -> bytes:
    """Return all of a stream, which may be a million times as large as the compressed file."""
    content = bytearray()
    while block := stream.read(_BLOCK):
        content += block
        # And the copy that is returned, and what is read from it.
        require_memory(3 * len(content), what, "take a part of it")
    return bytes(content)
