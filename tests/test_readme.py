"""What the README shows runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from anomaly.commands.dispatch import dispatch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALLER = {
    "train": ["model.width=16", "trainer.max_epochs=1", "ensemble.corrupted_events=2000"],
    "finetune": ["head=none"],
}
"""Appended on the command line: the same way, less work."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in "".join(blocks("console")).splitlines():
        program, *arguments = shlex.split(line)
        assert program == "anomaly"
        assert dispatch([*arguments, *SMALLER.get(arguments[0], []), "quiet=true"]) == 0, line
    assert (tmp_path / "runs" / "a" / "report.html").exists() and (tmp_path / "scores.parquet").exists()


@pytest.mark.slow
def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert "p_value" in capsys.readouterr().out


def test_the_scripts_and_links_are_there() -> None:
    for script in re.findall(r"^(scripts/\w+)", "".join(blocks("sh")), re.MULTILINE):
        assert (ROOT / script).stat().st_mode & 0o111
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).exists(), link
