"""Two installations of a peer at once make one environment; a half-made one is made anew."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from peers import install

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_who_comes_second_waits_and_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(name: str, folder: Path) -> int:
        made.append(name)
        folder.mkdir()
        time.sleep(0.2)
        (folder / "installed.json").touch()
        return 0

    monkeypatch.setattr(install, "_make", make)
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda _: install.install("xgboost", tmp_path / "peers" / "xgboost"), range(2)))
    assert codes == [0, 0] and made == ["xgboost"]


def test_what_was_left_halfway_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "xgboost"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    cleared: list[Any] = []

    def create(path: Path, *, clear: bool, **_: Any) -> None:
        cleared.append((path, clear))
        (path / "lib" / "python3" / "site-packages").mkdir(parents=True)

    monkeypatch.setattr(install.venv, "create", create)
    monkeypatch.setitem(install.REQUIREMENTS, "xgboost", [])
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: install.subprocess.CompletedProcess([], 0))
    assert install.install("xgboost", folder) == 0 and cleared == [(folder, True)]
    assert install.install("xgboost", folder) == 0 and len(cleared) == 1
