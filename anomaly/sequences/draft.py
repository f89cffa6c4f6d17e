"""A folder that appears when it is complete, and the arrays that are filled in it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anomaly.atomic import replacing_folder
from anomaly.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrays:
    """New arrays that are filled in any order.

    Filling a file here and there writes its pages over and over, so what fits in memory is filled there and written in
    one go.

    Parameters
    ----------
    folder : where full arrays go, None to keep them in memory
    memory : bytes from which an array is filled in its file
    """

    folder: Path | None
    memory: int = 1 << 30

    def empty(self, name: str, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
        """Return an array to be filled."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.folder is None or size <= self.memory:
            return np.empty(shape, dtype)
        path = self.folder / f"{name}.npy"
        mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        # A mapped file with holes would end the process when the disk fills up; without holes it is refused here.
        if hasattr(os, "posix_fallocate"):  # Not on macOS.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return mapped

    def full(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """Return a filled array, mapped from its file where there is a folder."""
        if self.folder is None or isinstance(array, np.memmap) or not array.size:
            return array
        path = self.folder / f"{name}.npy"
        np.save(path, array)
        mapped: NDArray[Any] = np.load(path, mmap_mode="r+")
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
        If `out` holds something, or the disk is too small.
    ArtifactError
        If a write fails.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out}: already there; choose another folder")
    with replacing_folder(out) as folder:
        free = shutil.disk_usage(folder).free
        if need > free:
            raise DataError(f"{out}: the store needs {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
        yield folder
