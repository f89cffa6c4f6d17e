"""A story as one picture: its reasons, and its events with what each carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from anomaly.atomic import replacing
from anomaly.explain.sentences import title

if TYPE_CHECKING:
    from anomaly.explain.sentences import Language
    from anomaly.explain.story import Story, StoryEvent

INK, MUTED, RULE, ACCENT, ALERT = "#1c2126", "#59636e", "#dde1e5", "#0b62a4", "#b84a00"
_SETTINGS = {"font.size": 9, "text.color": INK, "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": INK}
_SETTINGS |= {"text.parse_math": False, "svg.hashsalt": "explain"}
_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
)
"""Families that hold Chinese; where none is installed, pictures are titled in English."""


def draw_story(story: Story, path: Path | str, language: Language = "en") -> Path:
    """Write the picture, whole or not at all, and return where it lies."""
    path, chinese = Path(path), _chinese_font()
    language = language if chinese else "en"
    settings: Any = {**_SETTINGS, "font.family": ["DejaVu Sans", *chinese]}
    with matplotlib.rc_context(settings), replacing(path) as temporary:
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        _figure(story, language).savefig(temporary, format=path.suffix[1:], dpi=160, metadata=metadata)
    return path


def _chinese_font() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [name for name in _CHINESE if name in installed][:1]


def _figure(story: Story, language: Language) -> Figure:
    rows = max(len(story.reasons), len(story.events), 3)
    figure = Figure(figsize=(9.5, 1.3 + 0.28 * rows), layout="constrained")
    reasons, events = figure.subplots(1, 2, width_ratios=(1, 1.25))
    figure.suptitle(
        f"{story.sequence}   score {story.score:.2f}   p = {story.p_value:.2g}", x=0.01, ha="left", weight="bold"
    )
    names = [title(reason.code, language) for reason in story.reasons]
    _bars(reasons, names, [reason.part for reason in story.reasons], ACCENT, "reasons, part of the evidence")
    shown = sorted((event for event in story.events if event.part > 0), key=lambda event: event.position)
    labels = [f"{event.position + 1}  {_what(event)}" for event in shown]
    _bars(events, labels, [event.part for event in shown], ALERT, "events, part of the evidence")
    return figure


def _what(event: StoryEvent) -> str:
    field = next(iter(event.fields), "")
    value = event.values.get(field)
    return field if value is None else f"{field} = {value}"[:40]


def _bars(axes: Any, names: list[str], parts: list[float], color: str, label: str) -> None:
    places = range(len(names))
    axes.barh(places, parts, color=color, height=0.62)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
