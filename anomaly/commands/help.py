"""The help pages, made from the comments in the configuration itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomaly.commands.compose import choices, commands, conf_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):(?: +(?P<value>[^#]*?))?(?: *#\s*(?P<comment>.*))?$")
_GROUP = re.compile(r"^  - (?P<group>\w+): (?!null)(?P<choice>\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Key:
    """One documented key of a configuration file."""

    name: str
    default: str
    meaning: str


def overview() -> str:
    """Return the page of `anomaly --help`."""
    lines = ["anomaly: rank the users, sessions and events of a log that do not fit, without labels.", ""]
    lines += ["Usage: anomaly COMMAND key=value ...", "       anomaly COMMAND --help", "", "Commands:"]
    lines += [f"  {name:<11} {_heading(conf_folder() / f'{name}.yaml')[0]}" for name in commands()]
    return "\n".join([*lines, "", "Exit codes: 0, 2 for what you can mend (one line says what), 130 for Ctrl-C."])


def page(command: str, arguments: Sequence[str] = ()) -> str:
    """Return the page of `anomaly COMMAND --help`, with the keys of the choices that arguments make."""
    chosen = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    path = conf_folder() / f"{command}.yaml"
    text = path.read_text(encoding="utf-8")
    about, examples = _split_examples(_heading(path))
    lines = [f"anomaly {command}: {about[0]}", "", f"Usage: anomaly {command} key=value ..."]
    group = next((found["group"] for found in _GROUP.finditer(text) if len(choices(found["group"])) > 1), None)
    lines += [f"       anomaly {command} {group}=CHOICE --help   the keys of a choice"] if group else []
    lines += ["", *about[2:]] if len(about) > 2 else []
    lines += ["", "Keys (??? must be given):", *_table(_keys(text))]
    for found in _GROUP.finditer(text):
        lines += ["", *_group(found["group"], found["choice"], chosen.get(found["group"], ""))]
    if "experiment: null" in text:
        lines += ["", "experiment=CHOICE  several settings at once", *_choices("experiment", "")]
    if examples:
        lines += ["", "Examples:", *examples]
    return "\n".join(lines)


def _heading(path: Path) -> list[str]:
    """Return the comment that a file starts with, without Hydra's package line."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line[2:])
    return lines or [""]


def _split_examples(lines: list[str]) -> tuple[list[str], list[str]]:
    if "Examples:" not in lines:
        return lines, []
    cut = lines.index("Examples:")
    about = lines[:cut]
    return about[:-1] if about[-1] == "" else about, lines[cut + 1 :]


def _keys(text: str, prefix: str = "") -> list[Key]:
    """Return the keys of a file with their defaults and comments; a nested key carries its branch's name."""
    keys: list[Key] = []
    branches: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found or found["key"] in ("defaults", "_target_", "_recursive_"):
            continue
        depth = len(found["indent"])
        branches = [b for b in branches if b[0] < depth]
        name = ".".join([*(b[1] for b in branches), found["key"]])
        value = (found["value"] or "").strip()
        if value:
            keys.append(Key(prefix + name, value.strip('"'), found["comment"] or ""))
        else:
            branches.append((depth, found["key"]))
    return keys


def _group(group: str, default: str, chosen: str) -> list[str]:
    choice = chosen if chosen in choices(group) else default
    lines = [f"{group}=CHOICE", *_choices(group, default)]
    lines += [f"  with {group}={choice}:"] if choice != default else []
    files = [conf_folder() / group / f"{name}.yaml" for name in _parents(group, choice)]
    keys = {key.name: key for file in files for key in _keys(file.read_text(encoding="utf-8"), f"{group}.")}
    return [*lines, *_table(list(keys.values()))]


def _parents(group: str, choice: str) -> list[str]:
    """Return the choices that a choice is built on, itself last."""
    text = (conf_folder() / group / f"{choice}.yaml").read_text(encoding="utf-8")
    found = re.search(r"^defaults: \[(.*)\]", text, re.MULTILINE)
    parents = [name for name in (found[1].split(", ") if found else []) if name != "_self_"]
    return [*(ancestor for name in parents for ancestor in _parents(group, name)), choice]


def _choices(group: str, default: str) -> list[str]:
    marked = {name: f"{name} (default)" if name == default else name for name in choices(group)}
    folder = conf_folder() / group
    return [f"    {shown:<28} {_heading(folder / f'{name}.yaml')[0]}" for name, shown in marked.items()]


def _table(keys: list[Key]) -> list[str]:
    return [f"  {f'{key.name}={key.default}':<38} {key.meaning}".rstrip() for key in keys]
