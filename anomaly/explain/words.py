"""Counts, waits, shares and edits as people write them, in English and in Chinese."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Language = Literal["en", "zh"]

_HOURS = {f"{hour:02d}h": f"{hour:02d} 时" for hour in range(24)}
_DAYS = dict(
    zip(
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"),
        strict=True,
    )
)
WORDS: Mapping[Language, Mapping[str, str]] = MappingProxyType(
    {
        "en": {},
        "zh": {
            **{"padding": "填充", "unknown": "未知", "rare": "罕见", "missing": "缺失"},
            **{"below {}": "低于 {}", "above {}": "高于 {}", "{} to {}": "{} 至 {}"},
            **{"d": "天", "h": "小时", "min": "分钟", "s": "秒"},
            **{"event": "个事件"},
            **_HOURS,
            **_DAYS,
        },
    }
)
"""Words of the program that stand among values; what is not there stays English."""
FIELDS: Mapping[Language, Mapping[str, str]] = MappingProxyType(
    {"en": {}, "zh": {"gap": "间隔", "end": "结束", "whole": "整体", "hour": "时刻", "weekday": "星期"}}
)
"""Fields that are no columns of the data."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def number(value: float) -> str:
    """Return a count with grouped thousands."""
    return f"{value:,.0f}"


def amount(value: float | None, noun: str, language: Language = "en") -> str:
    """Return a count and its noun: "1 event", "2 events", "3 entities"."""
    if language != "en":
        return f"{number(value or 0)} {WORDS[language].get(noun, noun)}"
    if value == 1:
        return f"1 {noun}"
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number(value or 0)} {many}"


def duration(seconds: float, language: Language = "en") -> str:
    """Return a length of time in its two largest units."""
    if not math.isfinite(seconds):
        return "–"
    names = WORDS[language]
    if seconds < 10:
        return f"{seconds:.2g} {names.get('s', 's')}" if seconds else f"0 {names.get('s', 's')}"
    parts: list[str] = []
    left = round(seconds)
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {names.get(unit, unit)}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def percent(share: float) -> str:
    """Return a probability with two digits that tell."""
    if share >= 0.0995:
        return f"{100 * share:.0f}%"
    return f"{100 * share:.2g}%" if share >= 1e-4 else "<0.01%" if share > 0 else "0%"


_EDIT = {
    "replaced": ("with {field} = {value} at event {n}", "将第 {n} 个事件的 {field} 改为 {value}"),
    "dropped": ("without {event} {places}", "去掉第 {places} 个事件"),
    "more": (" and {more} more", "（等共 {all} 个）"),
    "usual": ("as it is", "无需改动"),
    "none": ("by no small edit", "小的改动不足以做到"),
    "enough": ("{parts} (p = {p:.2g})", "{parts}（p = {p:.2g}）"),
    "little": ("by no small edit ({parts}: p = {p:.2g})", "小的改动不足以做到（{parts}：p = {p:.2g}）"),
}
_NAMED = 12
"""Events that an edit names."""


def field_text(name: str, language: Language) -> str:
    """Return a field as people call it: columns as they are."""
    return FIELDS[language].get(name, name)


def equation(text: str) -> str:
    """Return a text in which numbers that are cut off are bounded, not equal: "amount ≥ 5"."""
    return text.replace("= ≥", "≥").replace("= ≤", "≤")


def edit_text(edit: Mapping[str, Any], language: Language = "en") -> str:
    """Return the smallest edit as a phrase."""
    say = {name: pair[language == "zh"] for name, pair in _EDIT.items()}
    parts = [
        say["replaced"].format(field=field_text(row["field"], language), value=row["value"], n=row["position"] + 1)
        for row in edit["replaced"]
    ]
    if edit["dropped"]:
        n = len(edit["dropped"])
        places = ", ".join(str(position + 1) for position in edit["dropped"][:_NAMED])
        more = say["more"].format(more=n - _NAMED, all=n) if n > _NAMED else ""
        told = say["dropped"].format(event="event" if n == 1 else "events", places=places)
        parts.append(told + more)
    if not parts:
        return say["usual" if edit["enough"] else "none"]
    joined = ("，" if language == "zh" else ", ").join(parts)
    return say["enough" if edit["enough"] else "little"].format(parts=joined, p=edit["p_value"])
