"""Values as the page writes them."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from typing import Any

from anomaly.explain.words import amount, number

__all__ = ["amount", "clean", "decimal", "identity", "number", "p_value", "percent", "plain", "share"]

MAX_TEXT = 160
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Control characters break the page, direction overrides make text read as what it is not; both are made visible.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(value: Any, limit: int = MAX_TEXT) -> str:
    """Return any value as text that is safe to show, cut to `limit` characters; escaping is the template's part."""
    text = _HIDDEN.sub("\ufffd", plain(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain(value: Any) -> str:
    """Return a value as people write it: grouped thousands, times to the second, nothing for null."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00").removesuffix(" 00:00")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    return str(value)


def identity(value: Any) -> str:
    """Return an id as it stands in the data: never grouped or rounded."""
    return "–" if value is None else clean(str(value), 60)


def decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with fixed decimals, so that a column of them lines up."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """Return a share as a percentage with three significant digits at most."""
    if value is None or not math.isfinite(value):
        return "–"
    percent = 100 * value
    digits = 0 if percent >= 99.95 or percent == 0 else 1 if percent >= 10 else 2
    text = f"{percent:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal, so that a column of them lines up."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.1f}%"


def p_value(value: float | None) -> str:
    """Return a p-value with two significant digits, as a power of ten where it is small."""
    if value is None or not math.isfinite(value):
        return "–"
    if value >= 0.001:
        return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"
    if value <= 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
