"""Arguments of a command to its configuration, by Hydra's compose and without its side effects."""

from __future__ import annotations

import difflib
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from anomaly.commands.values import check_values
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from omegaconf import DictConfig

LITERAL = (
    *("run", "out", "labels", "scores", "sequence", "init_from", "config"),
    *("database", "import", "export", "annotator"),
)
"""Keys whose value is taken as it stands, whatever characters it holds; so is that of every key that ends in .path."""

_OWN = ("run", "quiet", "log_level", "debug", "overwrite", "allow")
"""Keys that say how and where a command runs, not what it does; a kept configuration has their defaults."""

TABLE = "table"
"""Choice of a group, and experiment that makes it in all of them, for rows that stand alone."""

_MAY_BE_NULL = ("labels", "init_from", "history.path", "database", "import", "export", "annotator")
_FOREIGN = re.compile(r"[^,\[\]{}:]*[^\x00-\x7F][^,\[\]{}:]*")
"""An item of a list, or the whole value, with other letters than those of ASCII."""
_BEFORE_BRACE = re.compile(r"(\\*)\$\{")
_HYDRA = RLock()


@dataclass(frozen=True)
class Settings:
    """A composed configuration.

    Attributes
    ----------
    values : resolved, plain
    text : as YAML, references to the environment unresolved
    allow : packages that the command line names
    """

    values: dict[str, Any]
    text: str
    allow: tuple[str, ...] = ()


def conf_folder() -> Path:
    """Return where the configuration lies: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def commands() -> list[str]:
    """Return the names of the commands: each has a root file."""
    return sorted(path.stem for path in conf_folder().glob("*.yaml"))


def choices(group: str) -> list[str]:
    """Return the choices of a group."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def compose(command: str, arguments: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> Settings:
    """Return the configuration of a command.

    Parameters
    ----------
    arguments : overrides as on the command line
    values : further values by dotted key, taken as they are

    Raises
    ------
    ConfigError
        If a key, a choice or a value is wrong, a needed key is not given, or a file names packages to allow.
    """
    literal, overrides, allow = _sort(arguments)
    _choose_table(command, literal, overrides)
    config = _compose(command, overrides, literal.pop("config", None))
    if config.get("allow"):
        raise ConfigError("allow: counts on the command line only; a file cannot widen what may be built")
    for key, value in {**literal, **(values or {})}.items():
        _set(config, command, key, value)
    _check_types(command, config, overrides)
    resolved = _resolve(config)
    _check_values(command, config, resolved, overrides)
    return Settings(resolved, _text(command, config), allow)


def _sort(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str], tuple[str, ...]]:
    """Return the literal values, the overrides that Hydra reads, and the allowed packages."""
    literal: dict[str, Any] = {}
    overrides: list[str] = []
    allow: tuple[str, ...] = ()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals and not argument.startswith("~"):
            raise ConfigError(f"expected key=value, got {argument!r}; `anomaly COMMAND --help` lists the keys")
        name = key.lstrip("+")
        if name in LITERAL or name.endswith(".path"):
            literal[name] = None if value == "null" and name in _MAY_BE_NULL else value
        elif name == "allow":
            allow = tuple(part.strip(" '\"") for part in value.strip("[] ").split(",") if part.strip())
        else:
            overrides.append(_quoted(argument))
    return literal, overrides, allow


def _quoted(override: str) -> str:
    """Quote what is not of ASCII, such as names of columns: Hydra's grammar knows no other letters."""
    key, _, value = override.partition("=")
    return override if value.isascii() or "'" in value or '"' in value else f"{key}={_FOREIGN.sub(_in_quotes, value)}"


def _in_quotes(found: re.Match[str]) -> str:
    return f"'{found[0].strip()}'"


def _choose_table(command: str, literal: dict[str, Any], overrides: list[str]) -> None:
    """Where a table is given there are no events, and the groups take the choices made for tables."""
    if literal.get("table.path") is None or command == "replay":
        return
    literal.setdefault("events.path", None)
    if command == "train" and "config" not in literal and not any(_key(o) == "experiment" for o in overrides):
        overrides.insert(0, f"experiment={TABLE}")


def _compose(command: str, overrides: Sequence[str], file: str | None = None) -> DictConfig:
    """Compose the root file of a command, or a configuration that a run has kept."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if file is not None and not Path(file).is_file():
        raise ConfigError(f"config={file}: no such file")
    folder, name = (conf_folder(), command) if file is None else (Path(file).resolve().parent, Path(file).name)
    try:
        with _hydra_to_itself(), hydra.initialize_config_dir(config_dir=str(folder), version_base="1.3"):
            return hydra.compose(name, list(overrides))
    # Hydra has a ValueError of its own where a group that is needed is null.
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(_explain(command, overrides, error)) from error


@contextmanager
def _hydra_to_itself() -> Iterator[None]:
    """Set Hydra's global state aside: other threads compose too, and the caller may be an application of Hydra's."""
    from hydra.core.global_hydra import GlobalHydra

    with _HYDRA:
        callers, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
        try:
            yield
        finally:
            GlobalHydra.instance().hydra = callers


@cache
def _default(command: str, chosen: tuple[str, ...]) -> DictConfig:
    return _compose(command, chosen)


def _chosen(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(o for o in overrides if choices(_key(o)))


def _set(config: DictConfig, command: str, key: str, value: Any) -> None:
    from omegaconf import OmegaConf

    if key not in _flat(config):
        raise ConfigError(unknown_key(command, key, _flat(config)))
    OmegaConf.update(config, key, _plain(value))


def _plain(value: Any) -> Any:
    """Return a value that OmegaConf takes as it stands: nothing in a text is a reference."""
    if isinstance(value, str):
        return _BEFORE_BRACE.sub(lambda found: found[1] * 2 + r"\${", value)
    if isinstance(value, Path):
        return _plain(str(value))
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _check_types(command: str, config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what is no switch where the default is one, and a single value where it is a list."""
    before = _flat(_default(command, _chosen(overrides)))
    after = _flat(config)
    for key in (_key(o) for o in overrides):
        old, new = before.get(key), after.get(key)
        if isinstance(old, bool) and not isinstance(new, bool):
            raise ConfigError(f"{key}={new}: expected true or false")
        # A reference is judged by what it stands for, later.
        if isinstance(old, list) and isinstance(new, str | int | float) and "${" not in str(new):
            raise ConfigError(f"{key}={new}: expected a list, such as {key}=[{new}]")


def _check_values(command: str, config: DictConfig, values: dict[str, Any], overrides: Sequence[str]) -> None:
    from omegaconf import OmegaConf

    default: Any = OmegaConf.to_container(_default(command, _chosen(overrides)), resolve=True)
    # What refers to another key is judged there.
    own = {key for key, value in _flat(config).items() if not re.match(r"\$\{\w+(\.\w+)?\}$", str(value))}
    check_values({key: value for key, value in _flat(values).items() if key in own}, _flat(default))


def _resolve(config: DictConfig) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    missing = [key for key, value in _flat(config).items() if value == "???"]
    if missing:
        raise ConfigError(f"{', '.join(f'{key}=' for key in missing)} must be given; `--help` says what it is")
    try:
        values: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'configuration'}: {str(error).splitlines()[0]}") from error
    return dict(values)


def _text(command: str, config: DictConfig) -> str:
    """Return what a run keeps: with it and a folder, the command can be given again."""
    from omegaconf import OmegaConf

    kept, default = config.copy(), _flat(_default(command, ()))
    for key in _OWN:
        if key in default:
            OmegaConf.update(kept, key, default[key])
    return OmegaConf.to_yaml(kept, resolve=False)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return every key, branches included, with its unresolved value."""
    from omegaconf import OmegaConf

    tree: Any = OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
    return flat


def unknown_key(command: str, key: str, known: Mapping[str, Any]) -> str:
    """Say that a key does not exist and which one may be meant."""
    names = {name: name for name in known if not name.endswith("_")}
    # Someone who leaves out the group, or puts the key into the wrong one, still means the key.
    names |= {name.rpartition(".")[2]: name for name in reversed(list(names))}
    last = key.rpartition(".")[2]
    close = difflib.get_close_matches(key, names, 1, 0.7) or difflib.get_close_matches(last, names, 1, 0.7)
    hint = f"did you mean {names[close[0]]}?" if close else f"`anomaly {command} --help` lists the keys"
    group, _, rest = key.partition(".")
    others = [choice for choice in choices(group) if re.search(rf"^{re.escape(rest)}:", _file(group, choice), re.M)]
    if rest and others:
        hint = f"{group}={' and '.join(others)} would have it"
    return f"{key}: `anomaly {command}` has no such key; {hint}"


def _explain(command: str, overrides: Sequence[str], error: Exception) -> str:
    """Turn Hydra's refusal into one line that names the argument and what to do."""
    first = str(error).strip().splitlines()[0]
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        group = choices(_key(override))
        if group and value not in (*group, *([] if type(error) is ValueError else ["null"])):
            close = difflib.get_close_matches(value, group, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            return f"{key}={value}: no such choice; {hint}there are {', '.join(group)}"
    chosen = _chosen(overrides)
    known: dict[str, Any] = {} if list(chosen) == list(overrides) else _flat(_default(command, chosen))
    for override in overrides:
        key = _key(override)
        if known and not choices(key) and key not in known and not override.startswith("+"):
            return unknown_key(command, key, {**known, **dict.fromkeys(_groups())})
    for override in overrides:
        key, _, value = override.partition("=")
        if not _is_readable(override):
            return f"{override}: cannot be read; a list is [a,b], text with special characters \"{key}='{value}'\""
    return first


def _is_readable(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return not OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        return False


def _file(group: str, choice: str) -> str:
    return (conf_folder() / group / f"{choice}.yaml").read_text(encoding="utf-8")


def _groups() -> list[str]:
    return [path.name for path in conf_folder().iterdir() if path.is_dir()]
