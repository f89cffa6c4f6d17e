"""What a finished run is made of: versions, data, seeds, and a digest of every file."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anomaly import __version__
from anomaly.atomic import write_json
from anomaly.errors import ArtifactError

NAME = "manifest.json"
FORMAT = 3
"""Raised when a run folder changes so that older code cannot read it."""
OLDEST = 3
"""Raised to `FORMAT` when this code can no longer read what came before; 2 is from before the untaught view."""

_PACKAGES = ("torch", "pytorch-lightning", "numpy", "polars", "scikit-learn", "pyod", "scipy", "safetensors", "skops")
_CHANGING = ("checkpoints", "log.jsonl", NAME)
"""What goes on changing after `train`, or tells of its making only."""


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write the manifest of a run whose files are final; with it the run is finished."""
    manifest = {
        "format": FORMAT,
        "version": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
        "files": {name: _digest(folder / name) for name in final_files(folder)},
    }
    write_json(folder / NAME, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a finished run.

    Raises
    ------
    ArtifactError
        If there is no run, it is not finished, or it was written by a newer version, or by one too old.
    """
    path = folder / NAME
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such run")
    if not path.is_file():
        what = (
            "a run that is not finished; give its train command again"
            if _is_run(folder)
            else "no run; give a folder that anomaly train made"
        )
        raise ArtifactError(f"{folder}: {what}")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        newer, older = manifest["format"] > FORMAT, manifest["format"] < OLDEST
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: damaged ({error}); train the run again") from error
    if newer:
        raise ArtifactError(f"{folder}: written by version {manifest.get('version')}; this is {__version__}, update it")
    if older:
        raise ArtifactError(f"{folder}: written by an older version, in a form no longer read; train the run again")
    return manifest


def verify(folder: Path, below: tuple[str, ...] = ("",)) -> None:
    """Compare files with the digests of the manifest.

    Parameters
    ----------
    below : only files whose name starts with one of these

    Raises
    ------
    ArtifactError
        If a file is missing or differs; the message names it.
    """
    for name, digest in read_manifest(folder)["files"].items():
        if not name.startswith(below):
            continue
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder / name}: is missing; copy the run again, or train it with overwrite=true")
        if _digest(folder / name) != digest:
            raise ArtifactError(f"{folder / name}: differs from what train wrote; copy the run again, or train it anew")


def renew(folder: Path, names: tuple[str, ...]) -> None:
    """Take the digests of what was written anew on purpose, where the folder is a finished run.

    Parameters
    ----------
    names : of files, and of folders, of which what is not there any more is struck off
    """
    if not (folder / NAME).is_file():
        return
    manifest = read_manifest(folder)
    kept = {name: digest for name, digest in manifest["files"].items() if Path(name).parts[0] not in names}
    anew = {name: _digest(folder / name) for name in final_files(folder) if Path(name).parts[0] in names}
    write_json(folder / NAME, {**manifest, "files": kept | anew})


def final_files(folder: Path) -> list[str]:
    """Return the files of a run that do not change any more, by their path in it."""
    files = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.as_posix() for path in files if path.parts[0] not in _CHANGING and not path.name.startswith(".")]


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
