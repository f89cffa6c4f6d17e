"""Training: the best epoch wins, a broken one goes on, and nobody else's randomness is touched."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from anomaly.models import training
from anomaly.models.training import TrainingOutcome, TrainingPlan, train_model
from anomaly.sequences.datamodule import SequenceDataModule
from anomaly.sequences.store import FIRST_VALUE, SequenceStore

Make = Callable[..., Any]
PLAN: dict[str, Any] = {
    "max_epochs": 4,
    "patience": 10,
    "max_time": None,
    "precision": "32-true",
    "accelerator": "cpu",
    "devices": 1,
    "compile": False,
    "random_state": 0,
}


class Broken(Exception):
    """What stands for a power cut."""


@pytest.fixture(scope="module")
def train(store_of: Make, model_of: Make) -> Make:
    sets = store_of(np.full(24, 12)), store_of(np.full(8, 12), seed=1)

    def run(folder: Path, progress: Any = lambda *_: None, options: Any = None, **plan: Any) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        model = model_of(sets[0], **({"dropout": 0.2} | (options or {}))).train()
        data = SequenceDataModule(train=sets[0], held_out=sets[1], tokens=64, longest=12)
        outcome = train_model(model, data, TrainingPlan(**(PLAN | plan)), folder, progress)
        return model, outcome

    return run


@pytest.fixture(scope="module")
def undisturbed(train: Make, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    return *train(folder), folder


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_weights(a: Any, b: Any) -> None:
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def breaks_at(step: int) -> Callable[[str, int, int], None]:
    def progress(what: str, done: int, total: int) -> None:
        if done == step:
            raise Broken

    return progress


def test_two_trainings_of_one_seed_are_equal(train: Make, undisturbed: Any, tmp_path: Path) -> None:
    model, outcome = train(tmp_path)
    assert_same_weights(model, undisturbed[0])
    assert outcome.curve == undisturbed[1].curve
    other, _ = train(tmp_path / "seed", options={"random_state": 1})
    assert other.state_dict().keys() == model.state_dict().keys()
    assert not torch.equal(other.start.detach(), model.start.detach())


def test_a_broken_training_goes_on_bit_for_bit(train: Make, undisturbed: Any, tmp_path: Path) -> None:
    steps = 24 * 12 // 60
    with pytest.raises(Broken):
        train(tmp_path, breaks_at(2 * steps + 3))
    assert (tmp_path / "last.ckpt").exists() and not (tmp_path / "finished.json").exists()
    done = []
    model, outcome = train(tmp_path, lambda what, step, total: done.append(step))
    assert done[0] > 1, "it does not begin anew"
    assert_same_weights(model, undisturbed[0])
    assert outcome.best == undisturbed[1].best
    assert outcome.curve == undisturbed[1].curve


def test_broken_in_the_first_epoch_it_begins_anew(train: Make, undisturbed: Any, tmp_path: Path) -> None:
    with pytest.raises(Broken):
        train(tmp_path, breaks_at(2))
    assert not (tmp_path / "last.ckpt").exists()
    model, outcome = train(tmp_path)
    assert_same_weights(model, undisturbed[0])
    assert outcome.curve == undisturbed[1].curve


def test_an_interrupt_leaves_nothing_finished(train: Make, undisturbed: Any, tmp_path: Path) -> None:
    def interrupts(what: str, done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(tmp_path, interrupts)
    assert not (tmp_path / "finished.json").exists()
    assert_same_weights(train(tmp_path)[0], undisturbed[0])


def test_a_finished_training_is_only_read(train: Make, undisturbed: Any) -> None:
    model, outcome, folder = undisturbed
    written = json.loads((folder / "finished.json").read_text())
    assert TrainingOutcome(**written) == outcome
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again, read = train(folder, breaks_at(1))
    assert_same_weights(again, model)
    assert read == outcome
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_curve_has_every_epoch(undisturbed: Any) -> None:
    curve = undisturbed[1].curve
    assert [row["epoch"] for row in curve] == [0, 1, 2, 3]
    assert all(np.isfinite(row["train_loss"]) and np.isfinite(row["held_out_loss"]) for row in curve)
    assert curve[-1]["train_loss"] < curve[0]["train_loss"]
    assert not undisturbed[1].stopped_by_time


def test_the_best_epoch_wins_and_patience_ends_it(train: Make, tmp_path: Path, store_of: Make, batch_of: Make) -> None:
    options = {"learning_rate": 0.05, "trim": 0.0, "dropout": 0.0, "entity_dropout": 0.0}
    model, outcome = train(tmp_path, options=options, max_epochs=30, patience=2)
    held_out = [row["held_out_loss"] for row in outcome.curve]
    best = int(np.argmin(held_out))
    assert len(held_out) < 30 and best < len(held_out) - 1, "it overfits, and is stopped"
    with torch.no_grad():
        found = float(model.losses(batch_of(store_of(np.full(8, 12), seed=1))).mean())
    assert found == pytest.approx(held_out[best], abs=1e-4)
    assert not model.training


def test_killed_between_its_end_and_its_mark_it_trains_no_further(train: Make, tmp_path: Path) -> None:
    model, outcome = train(tmp_path, patience=1, max_epochs=40, options={"learning_rate": 0.3})
    assert len(outcome.curve) < 40
    (tmp_path / "finished.json").unlink()
    again, resumed = train(tmp_path, patience=1, max_epochs=40, options={"learning_rate": 0.3})
    assert resumed.curve == outcome.curve
    assert_same_weights(model, again)


def test_the_clock_ends_it_and_says_so(train: Make, tmp_path: Path) -> None:
    _, outcome = train(tmp_path, max_time="00:00:00:00", max_epochs=50)
    assert outcome.stopped_by_time
    assert len(outcome.curve) < 50


def test_a_step_is_one_graph_whatever_the_batch(train: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def count(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda step, **how: real(step, backend=count, fullgraph=True, **how))
    options = {"cell": "transformer", "dropout": 0.0}
    model, fused = train(tmp_path / "fused", options=options, compile=True)
    _, plain = train(tmp_path / "plain", options=options)
    assert len(graphs) == 1
    assert "losses_to_train_on" not in vars(model), "scoring goes on without it"
    for one, other in zip(fused.curve, plain.curve, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_progress_counts_steps(train: Make, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    train(tmp_path, lambda *step: seen.append(step), max_epochs=1)
    assert [done for _, done, _ in seen] == list(range(1, seen[-1][2] + 1))


def test_no_global_random_state_moves(train: Make, tmp_path: Path) -> None:
    def states() -> list[Any]:
        return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]  # noqa: NPY002

    before = states()
    train(tmp_path, max_epochs=1)
    assert states() == before


def test_noise_is_trimmed(model_of: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = FIRST_VALUE + np.tile(np.arange(10) % 5, 60)
    codes[-30:] = FIRST_VALUE + rng.integers(0, 5, 30)
    store = SequenceStore.from_codes(codes, np.full(60, 10))
    model = model_of(store, trim=0.05).train()
    data = SequenceDataModule(train=store, held_out=store.take(np.arange(10)), tokens=100, longest=10)
    train_model(model, data, TrainingPlan(**(PLAN | {"max_epochs": 6})), tmp_path)
    np.testing.assert_array_equal(np.flatnonzero(~model.kept_S.numpy()), [57, 58, 59])


@pytest.mark.parametrize(
    ("width", "able", "expected"), [(128, True, "bf16-mixed"), (64, True, "32-true"), (128, False, "32-true")]
)
def test_precision_is_what_pays_on_this_processor(
    width: int, able: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "multiplies_bf16", lambda: able)
    plan = TrainingPlan(1, 1, None, "auto", "cpu", 1, False, 0)
    model: Any = SimpleNamespace(params={"width": width})
    assert training._precision(plan, model) == expected
    assert training._precision(replace(plan, precision="32-true"), model) == "32-true"
