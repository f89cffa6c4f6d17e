"""What every page is made with: templates that escape what they are given, and the words for numbers."""

from __future__ import annotations

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from anomaly.report import text


def environment(*rooms: str, escape: bool = True, **filters: Any) -> Environment:
    """Return what renders the templates of some rooms, the first that has one.

    Parameters
    ----------
    filters : further ones, or in place of those of every page
    """
    found = Environment(
        loader=ChoiceLoader([PackageLoader(f"anomaly.{room}") for room in rooms]),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    names = ("clean", "identity", "number", "decimal", "share", "percent", "p_value", "amount")
    found.filters.update({name: getattr(text, name) for name in names} | filters)
    return found
