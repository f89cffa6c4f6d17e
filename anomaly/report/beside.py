"""The files beside the page: its figures as SVG, its tables as CSV, what it says against labels as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from anomaly.atomic import replacing, write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anomaly.report.data import ReportData
    from anomaly.report.svg import Sheet

_METRICS = "metrics.json"


def folder_beside(page: Path) -> Path:
    """Return the folder that belongs to a page."""
    return page.with_name(f"{page.stem}_files")


def write_beside(data: ReportData, sheet: Sheet, folder: Path) -> list[Path]:
    """Write all figures and tables, and return where they lie; those of an earlier page go where it had more."""
    folder.mkdir(parents=True, exist_ok=True)
    tables, written = _tables(data), []
    for number, svg in enumerate(sheet.files, 1):
        written.append(folder / f"figure_{number}.svg")
        write_text(written[-1], svg)
    for name, table in tables.items():
        if len(table):
            written.append(folder / f"{name}.csv")
            with replacing(written[-1]) as temporary:
                table.write_csv(temporary)
    if data.metrics is not None:
        written.append(folder / _METRICS)
        write_json(written[-1], data.metrics)
    own = {folder / _METRICS, *folder.glob("figure_*.svg"), *(folder / f"{name}.csv" for name in tables)}
    for path in own - set(written):
        path.unlink(missing_ok=True)
    return written


def _tables(data: ReportData) -> dict[str, pl.DataFrame]:
    scores = data.scores.sort("rank") if "rank" in data.scores.columns else data.scores
    return {
        "ranking": scores.with_columns(pl.col(pl.Duration).dt.total_microseconds()),
        "reasons": _frame(
            {data.key: str(item), **told._asdict()} for item, all_told in data.reasons.items() for told in all_told
        ),
        "clusters": _frame(
            {"cluster": k, data.key: str(member)} for k, row in enumerate(data.clusters, 1) for member in row["members"]
        ),
        "members": _frame(data.members),
        "power": _frame(data.power),
        "findings": _frame(data.findings),
        "drift": _frame(data.drift),
        "groups": _frame(data.groups),
        "budgets": _frame(_flat(row) for row in (data.metrics or {}).get("budgets", ())),
        "typologies": _frame(_flat(row) for row in (data.metrics or {}).get("typology", ())),
    }


def _frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    found = [{name: value if _is_plain(value) else str(value) for name, value in row.items()} for row in rows]
    return pl.DataFrame(found, infer_schema_length=None, strict=False) if found else pl.DataFrame()


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of figures with its intervals as columns of their own."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            out |= {f"{name}.{key}": inner for key, inner in _flat(value).items()}
        elif _is_plain(value):
            out[name] = value
    return out


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
