"""A folder that appears when it is complete, and the arrays that are filled in it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrays:
    """New arrays, in memory or in files that are as large as they will be from the start."""

    folder: Path | None

    def empty(self, name: str, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
        """Return an array to be filled."""
        if self.folder is None:
            return np.empty(shape, dtype)
        path = self.folder / f"{name}.npy"
        if not np.prod(shape):
            return np.empty(shape, dtype)
        mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        # A mapped file with holes would end the process when the disk fills up; without holes it is refused here.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return mapped


@contextmanager
def draft(out: Path, need: int = 0) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` at the end, and vanishes where there is no good end.

    Parameters
    ----------
    need : bytes that will be written

    Raises
    ------
    DataError
        If `out` holds something, the disk is too small, or a write fails.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: already there; choose another folder")
    folder = out.with_name(f".{out.name}.{os.getpid()}.draft")
    try:
        folder.mkdir(parents=True)
        free = shutil.disk_usage(folder).free
        if need > free:
            raise DataError(f"{out}: the store needs {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
        yield folder
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written ({error.strerror or error}); free space, or choose another"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
