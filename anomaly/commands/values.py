"""What a value in the configuration may be: a whole number is from 1, another one from 0, unless its name says more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTS = {
    **dict.fromkeys(("seed", "random_state", "port", "delay", "spares", "boundary", "crowd"), 0),
    **dict.fromkeys(("max_values", "max_transitions", "max_flags"), 0),
    "batch_tokens": 1,
    **dict.fromkeys(("n_bins", "folds", "masks"), 2),
}
"""Least value of whole numbers, by name; of those that are not named it is 1."""

AMOUNTS = {
    **dict.fromkeys(("dropout", "trim", "audit"), "[0, 1)"),
    **dict.fromkeys(("entity_dropout", "rate", "double", "open_"), "[0, 1]"),
    **dict.fromkeys(("held_out", "tail", "tau", "prevalence"), "(0, 1)"),
    **dict.fromkeys(("share", "keep", "top"), "(0, 1]"),
    **dict.fromkeys(("learning_rate", "memory", "noise", "factor"), "(0, inf)"),
    **dict.fromkeys(("low", "high"), "(-inf, inf)"),
    "growth": "(1, inf)",
    "threshold.rate": "(0, 1)",
}
"""Interval of other numbers, by name or dotted key, where it is not from 0."""

_PARTS = ("lease", "seconds", "memory_gb")
"""Numbers that need not be whole, although their defaults are."""
_MAY_BE_NULL = ("rows", "memory_gb")

NAMES = {
    "cell": ("gru", "lstm", "tcn", "transformer"),
    "objective": ("next_event", "autoencoder", "variational", "masked", "contrastive", "one_class"),
    "bad_rows": ("fail", "drop"),
    "language": ("en", "zh"),
}
"""What a text may be, by name."""


def check_values(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse the first value that its name cannot have.

    Parameters
    ----------
    values, defaults : by dotted key; where the default is no number, a number is judged by its name alone

    Raises
    ------
    ConfigError
        If there is one.
    """
    for key, value in values.items():
        name, default = key.rpartition(".")[2], defaults.get(key)
        if name in NAMES and value not in NAMES[name]:
            raise ConfigError(f"{key}={value}: expected one of {', '.join(NAMES[name])}")
        if _is_number(default) and not (value is None and name in _MAY_BE_NULL):
            _check_number(key, value, name, whole=isinstance(default, int) and name not in _PARTS)
        elif _is_number(value) and name in {*COUNTS, *AMOUNTS}:
            _check_number(key, value, name, whole=name in COUNTS)


def _check_number(key: str, value: Any, name: str, *, whole: bool) -> None:
    interval = f"[{COUNTS.get(name, 1)}, inf)" if whole else AMOUNTS.get(key, AMOUNTS.get(name, "[0, inf)"))
    low, high = (float(end) for end in interval[1:-1].split(","))
    if _is_number(value) and math.isfinite(value) and (not whole or value == int(value)):
        above = low <= value if interval[0] == "[" else low < value
        if above and (value <= high if interval[-1] == "]" else value < high):
            return
    raise ConfigError(f"{key}={value}: expected a {'whole ' * whole}number{_words(interval, low, high)}")


def _words(interval: str, low: float, high: float) -> str:
    if interval[0] + interval[-1] == "[]":
        return f" from {low:g} to {high:g}"
    ends = [f"{'from' if interval[0] == '[' else 'above'} {low:g}"] if math.isfinite(low) else []
    ends += [f"{'at most' if interval[-1] == ']' else 'below'} {high:g}"] if math.isfinite(high) else []
    return f" {' and '.join(ends)}" if ends else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
