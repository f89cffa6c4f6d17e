"""Files that are there whole or not at all: written under a temporary name, flushed, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = {errno.ENOSPC, errno.EDQUOT}
_TEMPORARY, _ASIDE = ".tmp-", ".old-"
# It cannot be read without being set, which other threads would see.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well.

    Raises
    ------
    ArtifactError
        If the file cannot be written; nothing is left behind.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays at the end: writers such as numpy add their own where it is missing.
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
        _flush_folder(path.parent)
    except Exception as error:
        _refuse_unwritable(path, error)
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place, old content and all, when the block ends well."""
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=path.parent))
        temporary.chmod(0o777 & ~_UMASK)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                file.chmod(0o666 & ~_UMASK)
                _flush(file)
        _exchange(path, temporary)
        _flush_folder(path.parent)
    except Exception as error:
        _refuse_unwritable(path, error)
        raise
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write a JSON document whole; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _refuse_unwritable(path: Path, error: Exception) -> None:
    """Raise one line on why a file could not be written, where that is what the error means.

    Raises
    ------
    ArtifactError
        If the disk is full or the system refuses.
    """
    # Libraries in other languages wrap the system's error in one of their own.
    reason = str(error)
    if getattr(error, "errno", None) in _FULL or "No space left" in reason or "requested and" in reason:
        raise ArtifactError(f"{path}: the disk is full; free some space, then run the same command again") from error
    if isinstance(error, OSError) and _is_of(path, error):
        why = error.strerror or str(error)
        raise ArtifactError(f"{path}: cannot be written ({why}); check the folder and its permissions") from error


def remove_temporaries(folder: Path) -> None:
    """Take away what a killed process left behind; a folder put aside goes back where nothing took its place."""
    for aside in list(folder.rglob(f"{_ASIDE}*")):
        path = aside.with_name(aside.name.removeprefix(_ASIDE))
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.replace(path)
    for left in folder.rglob(f"{_TEMPORARY}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _exchange(path: Path, new: Path) -> None:
    """Put a folder in the place of another, which stays beside it until then."""
    aside = path.with_name(_ASIDE + path.name)
    if path.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
        path.replace(aside)
    try:
        new.replace(path)
    except OSError:
        if aside.exists():
            aside.replace(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    # Not every file system lets a folder be flushed; the rename is atomic all the same.
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_of(path: Path, error: OSError) -> bool:
    """Return whether an error names the file to be written, what is written for it or a folder above; or nothing."""
    if error.filename is None:
        return True
    named = Path(str(error.filename))
    return named in (path, *path.parents) or any(part.startswith(_TEMPORARY) for part in named.parts)
