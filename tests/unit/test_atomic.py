"""A file is there whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from anomaly.atomic import remove_temporaries, replacing, replacing_folder, write_json, write_text
from anomaly.errors import ArtifactError

FULL = Path("/dev/full")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.txt", "old") or tmp_path / "x.txt"
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["x.txt"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        write(tmp_path / "x", content)
    assert [f.name for f in (tmp_path / "x").iterdir()] == ["two"]
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "x"):
        raise RuntimeError
    assert [f.name for f in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("killed_at", [1, 2])
def test_a_kill_at_any_moment_loses_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int) -> None:
    rename, renamed = Path.replace, []

    def dies(source: Path, target: Path) -> Path:
        renamed.append(source)
        if len(renamed) == killed_at:
            raise KeyboardInterrupt
        return rename(source, target)

    write(tmp_path / "x", "one")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", dies)
        write(tmp_path / "x", "two")
    remove_temporaries(tmp_path)
    assert [f.as_posix() for f in tmp_path.rglob("*")] == [f"{tmp_path}/x", f"{tmp_path}/x/one"]
    write(tmp_path / "x", "two")
    assert [f.as_posix() for f in tmp_path.rglob("*")] == [f"{tmp_path}/x", f"{tmp_path}/x/two"]


def test_what_an_earlier_kill_put_aside_gives_way_to_the_new_folder(tmp_path: Path) -> None:
    write(tmp_path / ".old-x", "one")
    write(tmp_path / "x", "two")
    assert [f.as_posix() for f in tmp_path.rglob("*")] == [f"{tmp_path}/x", f"{tmp_path}/x/two"]


def test_a_folder_that_does_not_get_its_name_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def fails(source: Path, target: Path) -> Path:
        if source.name.startswith(".tmp-"):
            raise OSError(errno.EIO, "Input/output error", str(source), None, str(target))
        return rename(source, target)

    write(tmp_path / "x", "one")
    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(ArtifactError, match="x: cannot be written"):
        write(tmp_path / "x", "two")
    assert [f.as_posix() for f in tmp_path.rglob("*")] == [f"{tmp_path}/x", f"{tmp_path}/x/one"]


def write(folder: Path, content: str) -> None:
    with replacing_folder(folder) as temporary:
        (temporary / content).write_text(content)


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"x\.txt: the disk is full") as error, replacing(tmp_path / "x.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("x" * 100_000),
        lambda path: pl.DataFrame({"x": range(100_000)}).write_parquet(path),
        lambda path: np.zeros(100_000).tofile(path),
    ],
    ids=["text", "parquet", "npy"],
)
def test_libraries_of_other_languages_say_full_too(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ArtifactError, match="the disk is full"), replacing(tmp_path / "x"):
        write(FULL)


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"), replacing(tmp_path / "file" / "x"):
        pass


@pytest.mark.parametrize("make", [replacing, replacing_folder])
def test_what_goes_wrong_with_another_file_is_told_of_that_file(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError, match="missing"), make(tmp_path / "x"):
        missing.read_text()
    with pytest.raises(ArtifactError, match="x: cannot be written"), make(tmp_path / "x") as temporary:
        (temporary / "none" / "y").write_text("")
    assert list(tmp_path.iterdir()) == []


def test_writing_leaves_the_mask_of_the_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as it is set to be read, what other threads write would be open to everybody."""
    mask = os.umask(0o022)
    os.umask(mask)
    monkeypatch.setattr("os.umask", lambda _: pytest.fail("set"))
    write_text(tmp_path / "x.txt", "")
    write(tmp_path / "x", "y")
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == (tmp_path / "x" / "y").stat().st_mode & 0o777 == 0o666 & ~mask


def test_json_refuses_what_json_has_not(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"é": [1, None]})
    assert "é" in (tmp_path / "x.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "x.json", float("nan"))


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".tmp-abc.npy").write_text("")
    (tmp_path / ".tmp-folder").mkdir()
    save_file({"x": np.ones(1)}, tmp_path / "kept.safetensors")
    remove_temporaries(tmp_path)
    assert sorted(f.name for f in tmp_path.rglob("*")) == ["a", "kept.safetensors"]
