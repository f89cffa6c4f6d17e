"""A story as text in the terminal."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from anomaly.commands.console import Console, visible
from anomaly.explain.words import amount, edit_text, equation, field_text, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anomaly.explain.story import Story

BAR, WIDTH = 16, 110
_COLOURS = {"high": "bold red", "medium": "yellow", "low": "dim"}
_LEAST = 0.02
CHECKED = 3
_WORDS = {
    "score": ("score", "得分"),
    "event": ("event {n} of {sequence}", "{sequence} 的第 {n} 个事件"),
    "why": ("Why", "原因"),
    "events": ("Events that carry it", "主要事件"),
    "statistics": ("Statistics", "统计量"),
    "instead": ("expected", "预期"),
    "usual": ("usually", "通常"),
    "here": ("here", "此处"),
    "habits": ("Against the owner's other sequences", "与自身其他序列相比"),
    "crowd": ("Against usual sequences", "与通常的序列相比"),
    "nearest": ("Most alike among the usual, and how far", "最相似的正常序列及距离"),
    "edit": ("It would be unremarkable", "若要不再异常"),
    "checks": ("Features of each member, by its parts and by SHAP", "各成员的特征：自身分解与 SHAP"),
    "exact": (
        "{share} of the split over events is exact; the rest lies in the events that decide a statistic",
        "按事件的分解有 {share} 是精确的；其余归于决定统计量的事件",
    ),
}


def print_story(console: Console, story: Story) -> None:
    """Write a story to stdout, unless the console is quiet."""
    if console.quiet:
        return
    console.end_progress()
    screen = RichConsole(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)
    for block in _blocks(story):
        if isinstance(block, Text):
            block.plain = visible(block.plain)
        screen.print(block)
    screen.print()


def _blocks(story: Story) -> Iterable[Any]:
    say = {name: pair[story.language == "zh"] for name, pair in _WORDS.items()}
    owner = "" if story.entity is None or story.entity == story.sequence else f"  {story.entity}"
    head = Text.assemble((str(story.item), "bold"), owner, f"  {say['score']} {story.score:.2f}")
    if story.event is None:
        what = amount(story.length, "event", story.language)
    else:
        what = say["event"].format(n=story.events[0].position + 1, sequence=story.sequence)
    yield head.append(f"  p = {story.p_value:.2g}  {what}", "dim")
    yield Text(f"\n{say['why']}", "bold")
    for told in story.told():
        line = Text.assemble("  ", (_bar(told.share), _COLOURS[told.severity]), f" {percent(told.share):>5}  ")
        yield line.append(f"{told.code}  ", _COLOURS[told.severity]).append(told.sentence)
    yield Text(f"\n{say['events']}", "bold")
    yield _events(story, say)
    yield Text(f"\n{say['statistics']}", "bold")
    parts = [f"{s.name} {percent(s.share)}" for s in story.statistics if s.share >= _LEAST]
    yield Text("  " + " · ".join(parts))
    yield Text(f"  {say['exact'].format(share=percent(story.exact))}", "dim")
    yield from _cross_checks(story, say)
    yield from _contrast(story, say)


def _events(story: Story, say: dict[str, str]) -> Table:
    table = Table(show_edge=False, box=None, padding=(0, 2, 0, 0))
    for name in ("", "#", "", "", "", say["instead"]):
        table.add_column(name, overflow="fold", style="dim" if name == say["instead"] else "")
    most = max((event.part for event in story.events), default=0.0)
    named = partial(field_text, language=story.language)
    for event in story.events:
        if event.part <= 0:
            continue
        fields = list(event.fields)[:2]
        values = ", ".join(f"{named(name)} = {event.values[name]}" for name in fields if name in event.values)
        likelier = [f"{named(x.field)} = {x.value} ({percent(x.probability)})" for x in event.expected[:2]]
        bar = _bar(event.part / max(most, 1e-300), 8)
        what = equation(values) or ", ".join(named(name) for name in fields)
        cells = (f"  {bar}", str(event.position + 1), percent(event.share), event.time, what, ", ".join(likelier))
        table.add_row(*map(visible, cells))
    return table


def _cross_checks(story: Story, say: dict[str, str]) -> Iterable[Any]:
    if not story.cross_checks:
        return
    yield Text(f"\n{say['checks']}", "bold")
    table = Table(show_header=False, show_edge=False, box=None, padding=(0, 2, 0, 0))
    for check in story.cross_checks:
        table.add_row(f"  {check.member}", "", _named(check.parts))
        table.add_row("", "SHAP", _named(check.shapley), style="dim")
    yield table


def _named(parts: Mapping[str, float]) -> str:
    total = max(sum(parts.values()), 1e-300)
    return visible(" · ".join(f"{name} {percent(part / total)}" for name, part in list(parts.items())[:CHECKED]))


def _contrast(story: Story, say: dict[str, str]) -> Iterable[Any]:
    if story.usual:
        yield Text(f"\n{say['habits' if story.usual[0]['whose'] == 'own' else 'crowd']}", "bold")
        for row in story.usual[:4]:
            shares = f"{say['here']} {percent(row['here'])}, {say['usual']} {percent(row['usual'])}"
            yield Text(f"  {field_text(row['field'], story.language)} = {row['value']}: {shares}")
    if story.nearest:
        names = ", ".join(f"{row['sequence']} ({row['distance']:.2f})" for row in story.nearest)
        yield Text.assemble((f"\n{say['nearest']}  ", "bold"), names)
    if story.edit:
        yield Text.assemble((f"\n{say['edit']}  ", "bold"), edit_text(story.edit, story.language))


def _bar(share: float, width: int = BAR) -> str:
    full = round(8 * width * min(max(share, 0.0), 1.0))
    return ("█" * (full // 8) + ("▏▎▍▌▋▊▉"[full % 8 - 1] if full % 8 else "")).ljust(width)
