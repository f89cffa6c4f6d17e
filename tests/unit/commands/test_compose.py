"""Arguments: literal where they name files, checked where they name keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import hydra
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomaly.commands.compose import compose
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

NEEDED = ["run=x", "events.path=x"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda name: name != "???"))
@example("a b/c=d,e{f}[g](h)'i\"j$k\\l")
@example("${oc.env:HOME}")
@example("\\${x}\\\\${y}")
@example("+~@#:*?|é日本")
@example("null")
@settings(max_examples=25, deadline=None)
def test_names_of_files_are_taken_literally(name: str) -> None:
    composed = compose("score", [f"run={name}", f"events.path={name}", f"out={name}"])
    assert composed.values["run"] == name
    assert composed.values["events"]["path"] == name
    assert composed.values["out"] == name


def test_a_kept_configuration_composes_to_the_same(tmp_path: Path) -> None:
    name = "a ${b}'c"
    first = compose("train", [f"events.path={name}", "run=r", "model.width=64", "threshold=fpr", "quiet=true"])
    (tmp_path / "config.yaml").write_text(first.text)
    again = compose("train", [f"config={tmp_path / 'config.yaml'}", "run=other"])
    assert again.text == first.text
    assert again.values["events"]["path"] == name and again.values["run"] == "other"
    with pytest.raises(ConfigError, match="run="):
        compose("train", [f"config={tmp_path / 'config.yaml'}"])
    with pytest.raises(ConfigError, match="no such file"):
        compose("train", ["config=nowhere.yaml", "run=x"])


def test_secrets_stay_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_ZONE", "hush-hush")
    composed = compose("train", [*NEEDED, "events.timezone=${oc.env:SECRET_ZONE}"])
    assert composed.values["events"]["timezone"] == "hush-hush"
    assert "hush-hush" not in composed.text and "${oc.env:SECRET_ZONE}" in composed.text
    with pytest.raises(ConfigError, match="NOT_SET_AT_ALL"):
        compose("train", [*NEEDED, "seed=${oc.env:NOT_SET_AT_ALL}"])


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("model.widht=3", "did you mean model.width"),
        ("width=3", "did you mean model.width"),
        ("thresold=fpr", "did you mean threshold"),
        ("model=next_event_gruu", "did you mean next_event_gru"),
        ("threshold.miss=3", "threshold=cost would have it"),
        ("lables.path=x", "no such key"),
        ("model.width=wide", "expected a whole number"),
        ("overwrite=1", "expected true or false"),
        ("events.entity=a,b", r"a list is \[a,b\]"),
        ("events.entity=a{b", "cannot be read"),
        ("run", "expected key=value"),
        ("nothing=1", "--help"),
    ],
)
def test_a_wrong_argument_is_one_line_with_a_hint(argument: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as error:
        compose("train", [*NEEDED, argument])
    assert "\n" not in str(error.value)
    assert argument.split("=")[0].split(".")[0] in str(error.value)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("events.categorical=[用户 编号,event,金额 (¥)]", ["用户 编号", "event", "金额 (¥)"]),
        ("events.categorical=[ 设备 , b]", ["设备", "b"]),
        ("events.categorical=['设备']", ["设备"]),
        ("events.entity=客户", "客户"),
        ("events.entity=Kundennummer_für_Käufer", "Kundennummer_für_Käufer"),
    ],
)
def test_names_in_any_language_need_no_quotes(argument: str, value: object) -> None:
    key = argument.partition("=")[0].removeprefix("events.")
    assert compose("train", [*NEEDED, argument]).values["events"][key] == value


def test_null_is_none_where_a_key_may_be_empty() -> None:
    assert compose("train", [*NEEDED, "labels=null", "events.entity=null"]).values["labels"] is None
    assert compose("train", [*NEEDED, "history.path=null"]).values["history"]["path"] is None


def test_packages_are_allowed_by_the_command_line_alone(tmp_path: Path) -> None:
    assert compose("train", [*NEEDED, "allow=[mine, 'other']"]).allow == ("mine", "other")
    text = compose("train", NEEDED).text.replace("allow: []", "allow: [os]")
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match="command line only"):
        compose("train", [f"config={tmp_path / 'c.yaml'}", "run=x"])


def test_composing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.core.global_hydra import GlobalHydra

    monkeypatch.chdir(tmp_path)
    compose("train", NEEDED)
    assert list(tmp_path.iterdir()) == []
    assert not GlobalHydra.instance().is_initialized()


def test_several_threads_compose_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda seed: compose("train", [f"seed={seed}"], {"run": "x", "events.path": "x.csv"}), range(12))
        )
    assert [each.values["seed"] for each in found] == list(range(12))


def test_an_application_of_hydra_keeps_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("answer: 42\n")
    with hydra.initialize_config_dir(config_dir=str(tmp_path), version_base="1.3"):
        assert compose("train", ["seed=7"], {"run": "x", "events.path": "x.csv"}).values["seed"] == 7
        assert hydra.compose("own").answer == 42
