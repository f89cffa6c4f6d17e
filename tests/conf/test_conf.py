"""Every YAML composes, every target in it can be built, and the help pages say what every key means."""

from __future__ import annotations

import re

import pytest

from anomaly.commands.compose import choices, commands, compose, conf_folder
from anomaly.commands.help import overview, page
from anomaly.commands.plan import plan, policy
from anomaly.commands.targets import instantiate

NEEDED = {
    "train": ["run=x", "events.path=x"],
    "score": ["run=x", "events.path=x", "out=x"],
    "evaluate": ["scores=x", "labels=x"],
    "report": ["run=x"],
    "explain": ["run=x"],
    "label": ["run=x"],
    "simulate": ["out=x"],
    "finetune": ["run=x", "labels=x", "out=x"],
    "sweep": ["out=x"],
    "leaderboard": ["results=x"],
    "replay": ["out=x"],
}
CHOICES = [
    (path.parent.name, path.stem)
    for path in sorted(conf_folder().glob("*/*.yaml"))
    if (path.parent.name, path.stem) != ("threshold", "run")
    and path.parent.name not in ("sweep", "competitor", "learner", "query")
]


def test_the_commands_are_those_that_are_tested() -> None:
    assert set(commands()) == set(NEEDED)


@pytest.mark.parametrize("command", sorted(NEEDED))
def test_every_root_composes(command: str) -> None:
    values = compose(command, NEEDED[command]).values
    assert {"quiet", "log_level", "debug", "allow"} <= set(values)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_builds_a_plan(group: str, choice: str) -> None:
    built = plan(compose("train", [*NEEDED["train"], f"{group}={choice}"]))
    assert built.ensemble.members
    assert built.policy.name


@pytest.mark.parametrize(("group", "choice"), [(g, c) for g in ("learner", "query") for c in choices(g)])
def test_every_learner_and_query_is_built(group: str, choice: str) -> None:
    values = compose("replay", [*NEEDED["replay"], f"{group}={choice}"]).values
    assert hasattr(instantiate(values[group]), "update" if group == "learner" else "query")


@pytest.mark.parametrize("choice", choices("threshold"))
def test_every_threshold_scores_and_reports(choice: str) -> None:
    for command in ("score", "report"):
        found = policy(compose(command, [*NEEDED[command], f"threshold={choice}"]))
        assert (found is None) == (choice == "run")


@pytest.mark.parametrize("command", sorted(NEEDED))
def test_the_help_page_explains_every_key_of_its_own(command: str) -> None:
    text = page(command)
    for line in (conf_folder() / f"{command}.yaml").read_text().splitlines():
        key = re.match(r"^(\w+): \S", line)
        if key:
            assert re.search(rf"^  {key[1]}=\S+ +\S", text, re.MULTILINE), f"{key[1]} is not explained"
    for group in re.findall(r"^  - (\w+): \w+$", (conf_folder() / f"{command}.yaml").read_text(), re.MULTILINE):
        assert all(f"    {choice}" in text for choice in choices(group))
    assert "Examples:" in text and max(map(len, text.splitlines())) < 140
    assert command in overview()


@pytest.mark.parametrize("command", sorted(NEEDED))
def test_every_example_composes(command: str) -> None:
    import shlex

    for line in re.findall(rf"^  anomaly {command} (.*)$", page(command), re.MULTILINE):
        assert compose(command, shlex.split(line)).values


def test_the_script_of_every_command_names_it() -> None:
    scripts = conf_folder().parent / "scripts"
    for command in commands():
        text = (scripts / f"{command}.py").read_text()
        assert f'["{command}", *sys.argv[1:]]' in text and len(text.splitlines()) == 5
