"""Reason codes: every statistic and feature speaks for one, so that the parts of the reasons add up as well.

Codes are drawn from what is measured, never from a kind of fraud. docs/reason_codes.md lists them all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anomaly.events.encoder import SHARED_SUFFIX
from anomaly.explain.lookup import NEW_STEPS, STEP, feature_field

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATISTICS: tuple[tuple[str, str, str], ...] = (
    # pattern of the statistic; the code where it is large; where it is small
    (r"own_past\.\w+\.(?P<about>.+\.entities)(?:\.(?:largest|mean))?", "SHARED_{field}", "SHARED_{field}"),
    (r"own_past\.contrast\.(?P<about>.+?)(?:\.(?:largest|mean))?", "VALUE_UNLIKE_OWN_PAST", "VALUE_UNLIKE_OWN_PAST"),
    (r"own_past\.crowd\.(?P<about>.+)", "UNUSUAL_VALUE", "UNUSUAL_VALUE"),
    (r".*\bcontrast.*", "UNLIKE_OWN_HISTORY", "UNLIKE_OWN_HISTORY"),
    (r".*\.gap_(ks|mean)", "UNUSUAL_PACE", "TIMING_TOO_REGULAR"),
    (r".*\.spacings", "UNEVEN_PACE", "TIMING_TOO_REGULAR"),
    (r".*\.lag_one", "TIMING_TOO_REGULAR", "UNUSUAL_PACE"),
    (r".*\.(gap|gap_largest)", "UNUSUAL_GAP", "UNUSUAL_GAP"),
    (r".*\.clock_\w+", "UNUSUAL_HOUR", "UNUSUAL_HOUR"),
    (r"silence", "GONE_SILENT", "GONE_SILENT"),
    (r".*\.end", "TRUNCATED", "TRUNCATED"),
    (r".*\.length", "TOO_LONG", "TRUNCATED"),
    (r".*\.excess", "UNEXPECTED_EVENTS", "TOO_PREDICTABLE"),
    (r".*\.pair(\.\w+)?", "RARE_COMBINATION", "RARE_COMBINATION"),
    (r".*\.(value(\.\w+)?|order0\.largest|order0)", "RARE_EVENT", "RARE_EVENT"),
    (r".*\.(largest\w*|fields_largest|improbable|surprisal|order1\.largest\w*|order1)", "UNEXPECTED_EVENT", ""),
    (r".*\.field\..+", "UNEXPECTED_EVENT", ""),
    (r".*\.(?:high|low)\.(?P<about>.+)", "UNUSUAL_VALUE", ""),
    (r".*\.(mean|top|order\d\.\w+)", "UNEXPECTED_EVENTS", "TOO_PREDICTABLE"),
)
CLOCK = ("hour", "weekday")
OTHER = "UNUSUAL_PROFILE"
SEVERITIES = ("low", "medium", "high")


@dataclass(frozen=True)
class Reason:
    """One reason of one case.

    Attributes
    ----------
    code : stable
    part : of the evidence; all reasons of a case add up to it, and those that carry little are not told
    share : of the evidence
    severity : "high" where something that rare is met once in ten thousand, "medium" once in a hundred, else "low"
    about : the field, or ""
    facts : what the sentence tells, and what a machine reads
    """

    code: str
    part: float
    share: float
    severity: str
    about: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def code_of_statistic(name: str, low: bool) -> tuple[str, str]:
    """Return the code that a statistic speaks for, and the field it is about where its name tells one."""
    for pattern, high_code, low_code in _STATISTICS:
        found = re.fullmatch(pattern, name)
        if found:
            about = found.groupdict().get("about", "")
            code = (low_code if low else high_code) or high_code
            return code.format(field=constant(about.removesuffix(SHARED_SUFFIX))), about
    return OTHER, ""


def code_of_feature(name: str, high: bool, fields: Sequence[str]) -> tuple[str, str]:
    """Return the code that a feature speaks for, large or small, and the field it is about."""
    about = feature_field(name, tuple(fields))
    if about.endswith(SHARED_SUFFIX):
        return f"SHARED_{constant(about.removesuffix(SHARED_SUFFIX))}", about
    if name == "length.log":
        return ("TOO_LONG" if high else "TRUNCATED"), ""
    if name == "rate.log" or name.startswith("gap.m"):
        return ("BURST" if high == (name == "rate.log") else "LONG_SILENCE"), "gap"
    if name in ("gap.cv", "gap.std_log", "gap.burstiness"):
        return ("UNEVEN_PACE" if high else "TIMING_TOO_REGULAR"), "gap"
    if name.startswith(("gap.", "span.")):
        return ("BURST" if high == (name == "gap.zero_share") else "LONG_SILENCE"), "gap"
    if about and name.startswith(f"{about}="):
        return _code_of_count(name.removeprefix(f"{about}="), about, high, fields), about
    if name.endswith((".min", ".max", ".mean", ".std")):
        return "UNUSUAL_VALUE", about
    if name.endswith(f".{NEW_STEPS}"):
        return ("NEW_STEP" if high else "TOO_PREDICTABLE"), about
    if name.endswith((".unknown_share", ".rare_share")):
        return "RARE_EVENT", about
    if name.endswith((".entropy", ".distinct_log", ".unique_share", ".repeat_share")):
        return ("MANY_VALUES" if high != name.endswith(".repeat_share") else "MONOTONOUS"), about
    return OTHER, ""


def _code_of_count(value: str, about: str, high: bool, fields: Sequence[str]) -> str:
    """Return the code of how often a value, or a step from one to the next, is there."""
    if STEP in value:
        return "REPEATED_STEP" if high else "MISSING_STEP"
    if about in CLOCK:
        return "UNUSUAL_HOUR"
    if about == fields[0] and re.search(r"[A-Za-z]", value):
        return f"{constant(value)}_RATE"
    return "VALUE_RATE"


def constant(text: str) -> str:
    """Return a text as the part of a code: capitals, digits and underscores."""
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_") or "VALUE"


def severity(p_value: float) -> str:
    """Return how rare the oddest of a reason's statistics is."""
    return SEVERITIES[int(p_value <= 1e-2) + int(p_value <= 1e-4)]
