"""Results on stdout, progress on stderr, nothing where quiet."""

from __future__ import annotations

import pytest

from anomaly.commands.console import Console
from anomaly.commands.dispatch import dispatch


def test_results_and_notes_go_their_ways(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        console.progress("long work", 1, 10)
        console.say("result")
        console.note("note")
        console.table("title", [{"a": 1, "b": 0.123456}, {"a": None, "b": "[red]text"}])
        console.table("nothing", [])
    out = capsys.readouterr()
    assert "result" in out.out and "0.1235" in out.out and "[red]text" in out.out
    assert out.err == "note\n"


@pytest.mark.parametrize("hostile", ["\x1b[2Jgone\x07", "\x9b2Jgone", "\rgone", "\u202egone"])
def test_text_of_the_data_commands_no_terminal(capsys: pytest.CaptureFixture[str], hostile: str) -> None:
    with Console() as console:
        console.say(f"result {hostile}")
        console.note(f"note {hostile}")
        console.table(hostile, [{hostile: hostile}])
    assert dispatch([f"no{hostile}"]) == 2
    out, err = capsys.readouterr()
    assert out.count("gone") == 4 and err.count("gone") == 2
    assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e"} & set(out + err)


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=True) as console:
        console.progress("work")
        console.say("result")
        console.note("note")
        console.table("title", [{"a": 1}])
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_shown_for_long_work_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0])
    monkeypatch.setattr("anomaly.commands.console.time.monotonic", lambda: next(clock))
    with Console() as console:
        console.progress("work", 0, 10)
        console.progress("work", 1, 10)
        assert console._bar is None
        console.progress("work", 2, 10)
        assert console._bar is not None
    assert console._bar is None
