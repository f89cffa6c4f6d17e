"""A user's own detector that fails: one line that names it, and no half of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import anomaly
from anomaly.commands.dispatch import dispatch
from anomaly.errors import DataError

OWN = """
import numpy as np
from anomaly.base import Detector

class Own(Detector):
    def __init__(self, *, fault="", calls=0):
        self.fault = fault
        self.calls = calls

    def fit(self, X, y=None):
        if self.fault == "fit":
            raise RuntimeError("my fit is broken")
        self.fitted_ = True
        return self

    def decision_function(self, X):
        if self.fault == "score" or self.fault == "later" and len(X) > 150:
            raise KeyError("my score is broken")
        return np.full(len(X), np.nan) if self.fault == "hollow" else X.values[:, 0].astype(float)
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "t.csv"
    pl.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), schema=["a", "b", "c"]).write_csv(path)
    return path


def arguments(table: Path, fault: str) -> list[str]:
    own = f"+detector.own={{_target_: mine.Own, fault: {fault}}}"
    return ["train", f"run={table.parent / 'run'}", f"table.path={table}", own, "allow=[mine]", "quiet=true"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("fit", "detector own failed: RuntimeError: my fit is broken"),
        ("score", "detector own failed: KeyError: 'my score is broken'"),
        ("later", "detector own failed: KeyError: 'my score is broken'"),
        ("hollow", "scores are NaN or infinite"),
    ],
)
def test_what_fails_is_one_line_and_leaves_no_run(
    fault: str, words: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(arguments(table, fault)) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: detector own") and words in told and told.count("\n") == 1
    assert not (table.parent / "run").exists()


def test_the_traceback_is_a_word_away(table: Path) -> None:
    with pytest.raises(DataError) as caught:
        dispatch([*arguments(table, "fit"), "debug=true"])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_one_that_works_takes_part(table: Path) -> None:
    assert dispatch(arguments(table, "none")) == 0
    assert "score.own" in anomaly.Run.load(table.parent / "run", allow=["mine"]).scores.columns
