"""Plain values as JSON that comes back as it was: tuples, integer keys, numpy scalars and infinities included.

Whatever is not plain is handed to the caller, who puts it aside and leaves a note (a dict with the key ``"!"``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

TAG = "!"
"""Key that marks a note; a user's dict that holds it is written as a list of pairs."""


def pack(value: Any, aside: Callable[[Any, str], dict[str, Any]], path: str = "") -> Any:
    """Return `value` as JSON.

    Parameters
    ----------
    aside : called with whatever is not plain and its place in the tree; returns the note to write, or raises
    path : place of `value`, names joined by dots
    """
    # Exact types: a subclass (an enum, a named tuple, a numpy float64) would come back as something else.
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "v": repr(value)}
    if kind in (list, tuple, set, frozenset):
        items = [pack(v, aside, f"{path}.{i}") for i, v in enumerate(_ordered(value))]
        return items if kind is list else {TAG: kind.__name__, "v": items}
    if kind is dict:
        return _pack_dict(value, aside, path)
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        return {TAG: "scalar", "dtype": value.dtype.str, "v": pack(value.item(), aside, path)}
    return aside(value, path)


def unpack(value: Any, fetch: Callable[[dict[str, Any]], Any]) -> Any:
    """Return what `pack` was given; `fetch` turns a note of the caller back into its object."""
    if isinstance(value, list):
        return [unpack(v, fetch) for v in value]
    if not isinstance(value, dict):
        return value
    match value.get(TAG):
        case None:
            return {k: unpack(v, fetch) for k, v in value.items()}
        case "float":
            return float(value["v"])
        case "tuple" | "set" | "frozenset" as kind:
            makers: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
            return makers[kind](unpack(v, fetch) for v in value["v"])
        case "dict":
            return {unpack(k, fetch): unpack(v, fetch) for k, v in value["v"]}
        case "scalar":
            return np.dtype(value["dtype"]).type(unpack(value["v"], fetch))
    return fetch(value)


def _pack_dict(value: dict[Any, Any], aside: Callable[[Any, str], dict[str, Any]], path: str) -> Any:
    items = [(k, pack(v, aside, f"{path}.{k}")) for k, v in value.items()]
    if all(type(k) is str for k in value) and TAG not in value:
        return dict(items)
    return {TAG: "dict", "v": [[pack(k, aside, f"{path}.key"), v] for k, v in items]}


def _ordered(value: Any) -> Any:
    # A set's own order differs between processes, and with it the file.
    return sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
