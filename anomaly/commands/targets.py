"""Objects from configuration: every target is resolved and judged by itself before anything is called."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRUSTED = ("anomaly", "pytorch_lightning", "lightning", "pyod.models", "sklearn", "torch.optim", "torch.nn")
"""Modules whose classes a configuration may name."""

FUNCTIONS = frozenset({"sklearn.pipeline.make_pipeline", "sklearn.pipeline.make_union"})
"""Functions that a configuration may name; any other could do anything with its arguments."""

_TARGET, _PARTIAL, _RECURSIVE = "_target_", "_partial_", "_recursive_"
_WORDS = (_TARGET, _PARTIAL, _RECURSIVE)


def instantiate(config: Any, allow: Sequence[str] = (), where: str = "") -> Any:
    """Build the objects that a configuration names; plain values come back as they are.

    Parameters
    ----------
    allow : further packages whose classes may be built
    where : key of `config`, for messages

    Raises
    ------
    ConfigError
        If a target does not exist or is not trusted, or an argument does not exist. Nothing has been called then.
    """
    targets: dict[str, Any] = {}
    _judge_all(config, tuple(allow), where, targets)
    return _build(config, where, targets)


def resolve(name: str, allow: Sequence[str] = (), where: str = _TARGET) -> Any:
    """Return the class or listed function of a dotted name.

    Raises
    ------
    ConfigError
        If there is none, or its own module is not trusted.
    """
    allow = tuple(allow)
    # Importing runs code, so the package is judged before it is imported, and the object itself after it.
    if not isinstance(name, str) or not _inside(name, tuple(t.split(".")[0] for t in TRUSTED) + allow):
        raise ConfigError(_untrusted(where, name))
    found = _find(name, where)
    own = getattr(found, "__module__", None) or ""
    if isinstance(found, type):
        if not _inside(own, TRUSTED + allow):
            raise ConfigError(_untrusted(where, f"{name} (which is {own}.{found.__qualname__})"))
        return found
    if not callable(found):
        raise ConfigError(f"{where}: {name} is no class")
    full = f"{own}.{getattr(found, '__qualname__', '?')}"
    if full not in FUNCTIONS and not _inside(own, allow):
        raise ConfigError(f"{where}: {name} is a function; only {', '.join(sorted(FUNCTIONS))} may be named")
    return found


def _find(name: str, where: str) -> Any:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name and not name.startswith(error.name):
                raise ConfigError(f"{where}: {name} needs the package {error.name}; install it") from error
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                close = difflib.get_close_matches(part, dir(found), 1)
                raise ConfigError(f"{where}: there is no {name}" + (f"; did you mean {close[0]}?" if close else ""))
            found = getattr(found, part)
        return found
    raise ConfigError(f"{where}: there is no {name}; is its package installed?")


def _judge_all(config: Any, allow: tuple[str, ...], where: str, targets: dict[str, Any]) -> None:
    """Resolve and judge every target below `config`, and check the names of its arguments."""
    if isinstance(config, dict):
        if _TARGET in config:
            targets[where] = resolve(config[_TARGET], allow, _join(where, _TARGET))
            _check_arguments(targets[where], config, where)
        for key, value in config.items():
            _judge_all(value, allow, _join(where, key), targets)
    elif isinstance(config, (list, tuple)):
        for i, value in enumerate(config):
            _judge_all(value, allow, _join(where, i), targets)


def _check_arguments(target: Any, config: Mapping[str, Any], where: str) -> None:
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # some classes written in C have no signature
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in config:
        if key not in parameters and key not in _WORDS:
            close = difflib.get_close_matches(str(key), parameters, 1)
            hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(parameters) or 'none'}"
            raise ConfigError(f"{_join(where, key)}: {target.__name__} has no argument {key!r}; {hint}")


def _build(config: Any, where: str, targets: dict[str, Any]) -> Any:
    if isinstance(config, (list, tuple)):
        return [_build(v, _join(where, i), targets) for i, v in enumerate(config)]
    if not isinstance(config, dict):
        return config
    arguments = {k: v for k, v in config.items() if k not in _WORDS}
    # What is below is judged either way; a constructor that builds it itself gets it as it stands.
    if config.get(_RECURSIVE, True):
        arguments = {k: _build(v, _join(where, k), targets) for k, v in arguments.items()}
    if _TARGET not in config:
        return arguments
    target = targets[where]
    if config.get(_PARTIAL):
        return functools.partial(target, **arguments)
    try:
        return target(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {config[_TARGET]} refuses its arguments ({error})") from error


def _inside(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _untrusted(where: str, name: Any) -> str:
    return (
        f"{where}: {name} is not trusted; a target is a class of {', '.join(TRUSTED)}, "
        "or of a package named on the command line with allow=[package]"
    )


def _join(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)
