from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anomaly.errors import ConfigError, DataError
from anomaly.sweeps.competitors import AsItComes
from anomaly.sweeps.datasets import TableSet
from anomaly.sweeps.peer import Peer

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
folder = Path(sys.argv[1])
told = json.loads((folder / "task.json").read_text())
if told["options"].get("fail"):
    raise SystemExit("no licence")
np.save(folder / "scores.npy", np.load(folder / "score.npy").max(1) + told["seed"])
(folder / "seconds.json").write_text('{"fit": 1.5, "score": 0.5}')
"""


def test_a_program_is_handed_the_task_and_leaves_scores(tmp_path: Path, table: Callable[..., TableSet]) -> None:
    (tmp_path / "p.py").write_text(PROGRAM)
    task = table().task(3)
    peer = Peer(program=str(tmp_path / "p.py"))
    outcome = peer.compete(task)
    assert np.allclose(outcome.scores, task.features()[1].values.max(1) + 3)
    assert outcome.seconds["fit"] == 1.5 and peer.told() == {"p.py": PROGRAM}
    with pytest.raises(DataError, match=r"p\.py: no licence"):
        Peer(program=str(tmp_path / "p.py"), options={"fail": True}).compete(task)


def test_what_is_not_installed_says_how(tmp_path: Path, table: Callable[..., TableSet]) -> None:
    task = table().task(0)
    with pytest.raises(ConfigError, match="no such program"):
        Peer(program="benchmarks/nobody.py").compete(task)
    (tmp_path / "p.py").write_text(PROGRAM)
    peer = Peer(program=str(tmp_path / "p.py"), peers=str(tmp_path), environment="xgboost")
    with pytest.raises(ConfigError, match=r"install\.py xgboost"):
        peer.compete(task)
    (tmp_path / "xgboost").mkdir()
    (tmp_path / "xgboost" / "failed.txt").write_text("long story\nERROR: no matching distribution")
    with pytest.raises(ConfigError, match="cannot be installed: ERROR: no matching distribution"):
        peer.compete(task)


def test_without_a_labelled_anomaly_no_program_is_asked(tmp_path: Path, table: Callable[..., TableSet]) -> None:
    (tmp_path / "p.py").write_text("raise SystemExit('random_ expects from to be less than to')")
    learner = AsItComes(detector={"_target_": "pyod.models.knn.KNN"}, labelled="unknown_as_normal")
    for anomalous in (0, 1):
        task = table(anomalous=anomalous).task(0, 0.1)
        for competitor in (Peer(program=str(tmp_path / "p.py")), learner):
            with pytest.raises(DataError, match="no labelled anomaly to learn from"):
                competitor.compete(task)


def test_a_peer_that_learns_from_labels_says_so(table: Callable[..., TableSet]) -> None:
    peer = Peer(program="benchmarks/peers/labelled_pyod.py", options={"detector": "pyod.models.devnet.DevNet"})
    with pytest.raises(DataError, match=r"learns from labels.*sweep\.labels="):
        peer.compete(table().task(0))
