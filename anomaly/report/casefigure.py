"""A story as one picture: its reasons, and its events with what each carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from anomaly.atomic import replacing
from anomaly.explain.sentences import title
from anomaly.explain.words import equation, field_text

if TYPE_CHECKING:
    from anomaly.explain.story import Story, StoryEvent
    from anomaly.explain.words import Language

INK, MUTED, RULE, ACCENT, ALERT = "#1c2126", "#59636e", "#dde1e5", "#0b62a4", "#b84a00"
_AROUND, _ROW = 0.72, 0.34
"""Inches of the words around the bars, and of a bar with the space around it."""
_SETTINGS = {"font.size": 9, "text.color": INK, "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": INK}
_SETTINGS |= {"text.parse_math": False, "svg.hashsalt": "explain"}
_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode MS",
)
"""Families that hold Chinese; of a collection matplotlib knows the first, which is the Japanese of Noto's."""
_WORDS = {
    "score": ("score", "得分"),
    "event": ("{event}, event {n} of {sequence}", "{event}（{sequence} 的第 {n} 个事件）"),
    "reasons": ("reasons, part of the evidence", "原因所占的证据"),
    "events": ("events, part of the evidence", "事件所占的证据"),
}


def draw_story(story: Story, path: Path | str) -> Path:
    """Write the picture, whole or not at all, and return where it lies."""
    path = Path(path)
    settings: Any = {**_SETTINGS, "font.family": ["DejaVu Sans", *chinese_fonts()]}
    with matplotlib.rc_context(settings), replacing(path) as temporary:
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        _figure(story).savefig(temporary, format=path.suffix[1:], dpi=160, metadata=metadata)
    return path


def chinese_fonts() -> list[str]:
    """Return the first of the families that are installed; [] where texts in Chinese cannot be drawn."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [name for name in _CHINESE if name in installed][:1]


def _figure(story: Story) -> Figure:
    say = {name: pair[story.language == "zh"] for name, pair in _WORDS.items()}
    rows = max(len(story.reasons), len(story.events), 1)
    figure = Figure(figsize=(9.5, _AROUND + _ROW * rows), layout="constrained")
    reasons, events = figure.subplots(1, 2, width_ratios=(1, 1.25))
    head = str(story.sequence)
    if story.event is not None:
        head = say["event"].format(event=story.event, n=story.events[0].position + 1, sequence=head)
    # Larger, not bold: few Chinese families have a bold face.
    told = f"{head}   {say['score']} {story.score:.2f}   p = {story.p_value:.2g}"
    figure.suptitle(told, x=0.01, ha="left", fontsize=12)
    names = [title(reason.code, story.language) for reason in story.reasons]
    _bars(reasons, names, [reason.part for reason in story.reasons], ACCENT, say["reasons"])
    shown = sorted((event for event in story.events if event.part > 0), key=lambda event: event.position)
    labels = [f"{event.position + 1}  {_what(event, story.language)}" for event in shown]
    _bars(events, labels, [event.part for event in shown], ALERT, say["events"])
    for axes in (reasons, events):
        axes.set_ylim(rows - 0.5, -0.5)  # Of few bars, too, each is as thick as in the other half.
    return figure


def _what(event: StoryEvent, language: Language) -> str:
    field = next(iter(event.fields), "")
    name, value = field_text(field, language), event.values.get(field)
    return name if value is None else equation(f"{name} = {value}")[:40]


def _bars(axes: Any, names: list[str], parts: list[float], color: str, label: str) -> None:
    places = range(len(names))
    axes.barh(places, parts, color=color, height=0.62)
    axes.set_yticks(places, names)
    axes.set_xlabel(label)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
