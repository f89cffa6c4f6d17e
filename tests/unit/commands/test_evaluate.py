"""Where the figures of `anomaly evaluate` go."""

import json
from pathlib import Path

import polars as pl
import pytest

from anomaly.artifact import manifest
from anomaly.commands.dispatch import dispatch


def scored(folder: Path) -> Path:
    ids = list(range(40))
    found = pl.DataFrame({"sequence": ids, "id": ids, "position": [0] * 40, "score": [float(i) for i in ids]})
    found.drop("id", "position").write_parquet(folder / "scores.parquet")
    found.write_parquet(folder / "event_scores.parquet")
    labels = pl.DataFrame({"sequence": ids, "id": ids, "label": [int(i > 30) for i in ids]})
    labels.drop("id").write_parquet(folder / "labels.parquet")
    labels.drop("sequence").write_parquet(folder / "event_labels.parquet")
    return folder


def evaluate(folder: Path, which: str, level: str) -> None:
    files = [f"scores={folder / f'{which}scores.parquet'}", f"labels={folder / f'{which}labels.parquet'}"]
    assert dispatch(["evaluate", *files, f"level={level}", "quiet=true"]) == 0


def test_the_figures_of_a_run_are_those_of_its_own_scores(tmp_path: Path) -> None:
    scored(tmp_path)
    manifest.write_manifest(tmp_path, {})
    evaluate(tmp_path, "", "sequence")
    own = (tmp_path / "metrics.json").read_bytes()
    evaluate(tmp_path, "event_", "event")
    assert (tmp_path / "metrics.json").read_bytes() == own
    assert json.loads((tmp_path / "event_scores_metrics.json").read_text())["n"] == 40
    manifest.verify(tmp_path)


@pytest.mark.parametrize(("which", "level"), [("", "sequence"), ("event_", "event")])
def test_elsewhere_they_are_called_metrics(tmp_path: Path, which: str, level: str) -> None:
    evaluate(scored(tmp_path), which, level)
    assert (tmp_path / "metrics.json").is_file()
