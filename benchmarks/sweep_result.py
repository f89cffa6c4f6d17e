"""Keep a finished sweep: its figures as one JSON document in results/, and the leaderboard's Markdown beside it.

python benchmarks/sweep_result.py runs/bench/tabular
python benchmarks/sweep_result.py runs/bench/pyod_vs_sequence --name sequences --out elsewhere
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measure import RESULTS, result_path, stamp, write_json

from anomaly.sweeps.board import boards, means, newest
from anomaly.sweeps.page import render
from anomaly.sweeps.store import ResultStore

KEPT = ("set", "competitor", "labels", "auroc", "ap", "ap_std", "precision", "recall", "repeats", "n", "n_anomalous")
COSTS = ("fit_seconds", "score_seconds", "peak_mb", "good", "cells", "reason")


def main() -> None:
    """Write the two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a sweep")
    parser.add_argument("--name", help="of the sweep; the folder's own unless stated")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    name = args.name or args.results.resolve().name
    rows = ResultStore(args.results).read()
    path = result_path(f"sweep_{name}", args.out)
    write_json(path, document(name, rows))
    found = boards(rows)
    path.with_suffix(".md").write_text(render(found, rows, name, "board.md"), encoding="utf-8")
    sys.stdout.write(f"{path}\n")


def document(name: str, rows: pl.DataFrame) -> dict[str, Any]:
    """Return what is kept: one line per competitor, and one per set and competitor."""
    rows = newest(rows)
    packages = ("anomaly", "torch", "pyod", "scikit-learn", "numpy", "polars")
    told = {"sweep": name, "cells": rows.height, "hours_of_cells": round(float(rows["seconds"].sum() or 0) / 3600, 3)}
    told["status"] = dict(rows["status"].value_counts().sort("status").iter_rows())
    told["fingerprints"] = dict(rows.select("set", "fingerprint").unique().sort("set").iter_rows())
    told["versions_of_cells"] = [json.loads(v) for v in rows["versions"].drop_nulls().unique().sort()]
    table = means(rows).select(*KEPT, *COSTS)
    return {
        **stamp(f"sweep_{name}", *packages),
        **told,
        "boards": [
            {"title": b.title, "against": b.against, "lines": _plain(b.lines), "ranks": _plain(asdict(b.ranks))}
            for b in boards(rows)
        ],
        "table": _plain(table.to_dicts()),
    }


def _plain(value: Any) -> Any:
    """Return numbers that JSON can hold, rounded to what they are worth."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items() if v is not None}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), 5) if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
