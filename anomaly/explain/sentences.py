"""A title and sentences for every reason code, in English and in Chinese.

Of several sentences of a code the first is told whose facts are all known; where none is, the title must do.
"""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING, Any

from anomaly.explain.words import equation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly.explain.words import Language

SENTENCES: dict[str, tuple[tuple[str, str], ...]] = {
    "UNEXPECTED_EVENT": (
        ("unexpected event", "出乎意料的事件"),
        (
            "Event {n} has {about} = {value} with probability {own}; {instead} was likelier ({p}).",
            "第 {n} 个事件的 {about} = {value}，概率仅为 {own}；更可能是 {instead}（{p}）。",
        ),
        (
            "Event {n}, with {about} = {value}, is unexpected there.",
            "第 {n} 个事件（{about} = {value}）出现在此处出乎意料。",
        ),
        (
            "Event {n} is unexpected there.",
            "第 {n} 个事件出现在此处出乎意料。",
        ),
    ),
    "UNEXPECTED_EVENTS": (
        ("many unlikely events", "许多不寻常的事件"),
        (
            "Many events are less likely than usual, event {n} with {about} = {value} most of all.",
            "许多事件的可能性低于平常，其中第 {n} 个（{about} = {value}）最低。",
        ),
        (
            "Many events are less likely than usual, event {n} most of all.",
            "许多事件的可能性低于平常，其中第 {n} 个最低。",
        ),
    ),
    "RARE_EVENT": (
        ("rare value", "罕见取值"),
        (
            "Event {n} has a rare value: {about} = {value}.",
            "第 {n} 个事件含有罕见的取值：{about} = {value}。",
        ),
        (
            "There are rare values.",
            "含有罕见的取值。",
        ),
    ),
    "RARE_COMBINATION": (
        ("rare combination", "罕见组合"),
        (
            "Event {n} combines values that are rarely seen together, {about} = {value} among them.",
            "第 {n} 个事件组合了很少同时出现的取值，其中包括 {about} = {value}。",
        ),
    ),
    "UNLIKE_OWN_HISTORY": (
        ("unlike own history", "与自身历史不符"),
        (
            "It fits the crowd better than {entity}'s own history, event {n} ({about} = {value}) least of all.",
            "与 {entity} 自身的历史相比，它更像其他人的行为，尤其是第 {n} 个事件（{about} = {value}）。",
        ),
        (
            "It fits the crowd better than its owner's own history.",
            "与其所有者自身的历史相比，它更像其他人的行为。",
        ),
    ),
    "VALUE_UNLIKE_OWN_PAST": (
        ("number unlike own past", "数值与此前不符"),
        (
            "{about} = {value} at event {n} is far from what came before it.",
            "第 {n} 个事件的 {about} = {value} 与此前的数值相差很大。",
        ),
    ),
    "UNUSUAL_VALUE": (
        ("unusual number", "数值异常"),
        (
            "{about} = {value} at event {n} is out of its usual range, {usual_range}.",
            "第 {n} 个事件的 {about} = {value} 超出通常范围（{usual_range}）。",
        ),
        (
            "The values of {about} are unusual, {value} at event {n} most of all.",
            "{about} 的数值异常，尤其是第 {n} 个事件的 {value}。",
        ),
    ),
    "BURST": (
        ("burst", "密集爆发"),
        (
            "Events follow each other fast: {gap} between two, where {usual_gap} is usual.",
            "事件接连发生：间隔中位数为 {gap}，通常为 {usual_gap}。",
        ),
        (
            "Events follow each other unusually fast.",
            "事件发生得异常密集。",
        ),
    ),
    "LONG_SILENCE": (
        ("long silence", "长时间停顿"),
        (
            "There is a pause of {wait} before event {n}, where {usual_gap} between two events is usual.",
            "第 {n} 个事件之前停顿了 {wait}，通常两个事件之间为 {usual_gap}。",
        ),
        (
            "There is an unusually long pause, the longest before event {n}.",
            "出现异常长的停顿，最长的在第 {n} 个事件之前。",
        ),
    ),
    "GONE_SILENT": (
        ("gone silent", "不再活动"),
        (
            "Nothing has happened since the last event, for longer than its own pauses suggest.",
            "自最后一个事件以来不再活动，时间之长超出其自身停顿所能预期。",
        ),
    ),
    "TIMING_TOO_REGULAR": (
        ("timing too regular", "间隔过于规律"),
        (
            "The times between events are more alike than people's are: about {gap} each.",
            "事件之间的间隔比人的行为更规律：每次约 {gap}。",
        ),
        (
            "The times between events are more alike than people's are.",
            "事件之间的间隔比人的行为更规律。",
        ),
    ),
    "UNEVEN_PACE": (
        ("uneven pace", "节奏不均"),
        (
            "The pace is uneven: bursts and pauses alternate.",
            "节奏不均：密集与停顿交替出现。",
        ),
    ),
    "UNUSUAL_PACE": (
        ("unusual pace", "节奏异常"),
        (
            "The pace is unusual: {gap} between two events, where {usual_gap} is usual.",
            "节奏异常：间隔中位数为 {gap}，通常为 {usual_gap}。",
        ),
        (
            "The pace is unusual.",
            "节奏异常。",
        ),
    ),
    "UNUSUAL_GAP": (
        ("unusual gap", "间隔异常"),
        (
            "The time before event {n} is unusual: {wait}.",
            "第 {n} 个事件之前的间隔异常：{wait}。",
        ),
        (
            "One gap between events is unusual.",
            "有一个事件间隔异常。",
        ),
    ),
    "UNUSUAL_HOUR": (
        ("unusual time of day or week", "时刻异常"),
        (
            "The time of day or week is unusual, most of all at event {n} ({time}).",
            "发生的时刻异常，尤其是第 {n} 个事件（{time}）。",
        ),
    ),
    "TRUNCATED": (
        ("breaks off", "提前结束"),
        (
            "It ends after {events}, although more were expected; {usual_length} is usual.",
            "在 {events}后即告结束，本应还有后续；通常为 {usual_length} 个。",
        ),
    ),
    "TOO_LONG": (
        ("unusually long", "异常冗长"),
        (
            "It has {events}, where {usual_length} is usual.",
            "共有 {events}，通常为 {usual_length} 个。",
        ),
    ),
    "TOO_PREDICTABLE": (
        ("too predictable", "过于刻板"),
        (
            "It is more repetitive than usual: hardly any event is new.",
            "行为比平常更刻板：几乎没有事件带来新信息。",
        ),
    ),
    "NEW_STEP": (
        ("new step", "从未见过的步骤"),
        (
            "The step {step}, at event {n}, is not known from others.",
            "第 {n} 个事件处的步骤 {step} 从未在其他行为中出现。",
        ),
        (
            "A step from one event to the next is not known from others.",
            "有一个步骤从未在其他行为中出现。",
        ),
    ),
    "REPEATED_STEP": (
        ("repeated step", "重复的步骤"),
        (
            "The step {step} occurs unusually often, at event {n} for example.",
            "步骤 {step} 出现得异常频繁，例如第 {n} 个事件。",
        ),
        (
            "The same steps occur again and again, at event {n} for example.",
            "相同的步骤反复出现，例如第 {n} 个事件。",
        ),
    ),
    "MISSING_STEP": (
        ("missing step", "缺少步骤"),
        (
            "The step {step}, which is usual, is missing or rare.",
            "通常会有的步骤 {step} 缺失或很少出现。",
        ),
        (
            "A step that is usual is missing.",
            "缺少通常会有的步骤。",
        ),
    ),
    "VALUE_RATE": (
        ("unusual rate of a value", "取值频率异常"),
        (
            "{about} is {rated} in {count} of {events}, where {usual_count} is usual.",
            "{events}中有 {count} 个的 {about} 为 {rated}，通常为 {usual_count} 个。",
        ),
        (
            "One value of {about} is unusually frequent or unusually rare.",
            "{about} 的某个取值出现得异常频繁或异常少。",
        ),
    ),
    "MANY_VALUES": (
        ("many different values", "取值过多"),
        (
            "{about} takes unusually many values.",
            "{about} 的取值异常多样。",
        ),
    ),
    "MONOTONOUS": (
        ("few different values", "取值单一"),
        (
            "{about} takes unusually few values.",
            "{about} 的取值异常单一。",
        ),
    ),
    "UNUSUAL_PROFILE": (
        ("unusual as a whole", "整体异常"),
        (
            "Taken as a whole it resembles nothing usual.",
            "整体上与通常的行为不相似。",
        ),
    ),
    "SHARED_*": (
        ("shared value", "多主体共用"),
        (
            "An unusual number of entities use the same {about} ({value}).",
            "使用同一 {about} 的主体数量异常（{value}）。",
        ),
        (
            "An unusual number of entities use the same {about}.",
            "使用同一 {about} 的主体数量异常。",
        ),
    ),
    "NEW_*_THEN_HIGH_VALUE": (
        ("new value, then unusual number", "新取值之后数值异常"),
        (
            "{about} = {value} is new for {entity} at event {n}, and {number} = {high} at event {later} is unusual.",
            "第 {n} 个事件的 {about} = {value} 对 {entity} 是首次出现，而第 {later} 个事件的 {number} = {high} 异常。",
        ),
    ),
    "*_RATE": (
        ("unusual number of such events", "此类事件数量异常"),
        (
            "{rated} makes up {count} of {events}, where {usual_count} is usual.",
            "{events}中有 {count} 个是 {rated}，通常为 {usual_count} 个。",
        ),
        (
            "The number of such events is unusual.",
            "此类事件的数量异常。",
        ),
    ),
}
"""Code, or family of codes with a star for the field's or value's name, to title and sentences."""


def family(code: str) -> str:
    """Return the entry of `SENTENCES` that a code belongs to."""
    if code in SENTENCES:
        return code
    stars = [name for name in SENTENCES if "*" in name and re.fullmatch(name.replace("*", ".+"), code)]
    return stars[0] if stars else "UNUSUAL_PROFILE"


def title(code: str, language: Language = "en") -> str:
    """Return a code in a few words."""
    return SENTENCES[family(code)][0][language == "zh"]


def sentence(code: str, facts: Mapping[str, Any], language: Language = "en") -> str:
    """Return what a reason says, with the facts that are known."""
    for pair in SENTENCES[family(code)][1:]:
        text = pair[language == "zh"]
        needed = {name for _, name, _, _ in Formatter().parse(text) if name}
        if all(facts.get(name) not in (None, "") for name in needed):
            return equation(text.format(**facts))
    return title(code, language).capitalize() + ("。" if language == "zh" else ".")
