"""The page: `ReportData` in, one HTML file out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from anomaly.atomic import replacing
from anomaly.report import cases, sections
from anomaly.report.beside import folder_beside, write_beside
from anomaly.report.environment import environment, policy
from anomaly.report.svg import Sheet

if TYPE_CHECKING:
    from anomaly.report.data import ReportData


def write_report(data: ReportData, path: Path | str) -> Path:
    """Write the page, whole or not at all, and return where it lies; figures and tables into a folder beside it."""
    path = Path(path)
    page, sheet = _render(data)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    write_beside(data, sheet, folder_beside(path))
    return path


def render(data: ReportData) -> str:
    """Return the page as HTML; equal data give equal bytes."""
    return _render(data)[0]


def _render(data: ReportData) -> tuple[str, Sheet]:
    sheet, templates = Sheet(), environment("report")
    parts = _parts(data, sheet)
    css = f"{templates.get_template('page.css').render()}\n{sheet.css}\n"
    # The style sheet is the package's own file and matplotlib's rules, the script the package's own file: no value of
    # the data reaches either.
    script = templates.get_template("filter.js").render()
    page = templates.get_template("page.html").render(
        data=data, css=Markup(css), script=Markup(script), policy=policy(css, script), **parts
    )
    return page, sheet


def _parts(data: ReportData, sheet: Sheet) -> dict[str, Any]:
    top = cases.top_cases(data)
    return {
        "headline": sections.headline(data),
        "finding_columns": list(dict.fromkeys(name for row in data.findings for name in row)),
        "distribution": sections.distribution(data, sheet) if len(data.scores) else None,
        "over_time": sections.over_time(data, sheet) if len(data.scores) else None,
        "cases": top,
        "choices": sections.reason_choices(top),
        "clusters": sections.clusters(data),
        "looked_at": sections.looked_at(data) if data.clusters else "",
        "groups": sections.groups(data),
        "fields": sections.carrying_fields(data),
        "members": sections.members(data),
        "power": sections.power(data),
        "training": sections.training(data, sheet),
        "labelled": sections.labelled(data, sheet),
    }
