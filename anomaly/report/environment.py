"""What every page is made with: templates that escape what they are given, and the words for numbers."""

from __future__ import annotations

import base64
import hashlib
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


def policy(style: str, script: str = "") -> str:
    """Return the content security policy of a page that holds one style sheet, perhaps one script, and nothing else."""
    scripts = f"script-src 'sha256-{_digest(script)}'; " if script else ""
    return f"default-src 'none'; style-src 'sha256-{_digest(style)}'; {scripts}base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
