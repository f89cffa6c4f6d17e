"""Values that cannot be are refused before anything is read."""

from __future__ import annotations

from typing import get_args

import pytest

from anomaly.commands.compose import _flat, choices, compose
from anomaly.commands.plan import plan
from anomaly.commands.values import NAMES
from anomaly.errors import ConfigError
from anomaly.events.checks import BadRows
from anomaly.explain.words import Language

TRAIN = ["run=x", "events.path=x"]


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("trainer.max_epochs=0", "trainer.max_epochs=0: expected a whole number from 1"),
        ("trainer.batch_tokens=-3", "trainer.batch_tokens=-3: expected a whole number from 1"),
        ("sequences.n_bins=-3", "sequences.n_bins=-3: expected a whole number from 2"),
        ("sequences.n_bins=2.5", "sequences.n_bins=2.5: expected a whole number from 2"),
        ("sequences.n_bins=true", "sequences.n_bins=True: expected a whole number from 2"),
        ("sequences.memory=0", "sequences.memory=0: expected a number above 0"),
        ("model.width=null", "model.width=None: expected a whole number from 1"),
        ("model.width=${oc.env:MINUS}", "model.width=-3: expected a whole number from 1"),
        ("model.dropout=.nan", "expected a number from 0 and below 1"),
        ("model.entity_dropout=1.1", "model.entity_dropout=1.1: expected a number from 0 to 1"),
        ("model.learning_rate=.inf", "expected a number above 0"),
        ("model.cell=gru2", "model.cell=gru2: expected one of gru, lstm, tcn, transformer"),
        ("model.objective=next", "model.objective=next: expected one of next_event"),
        ("ensemble.held_out=1", "ensemble.held_out=1: expected a number above 0 and below 1"),
        ("calibration.tail=0", "calibration.tail=0: expected a number above 0 and below 1"),
        ("threshold.rate=0", "threshold.rate=0: expected a number above 0 and below 1"),
        ("threshold.count=-1", "threshold.count=-1: expected a whole number, 0 or more"),
        ("+corruption.insert.share=3", "corruption.insert.share=3: expected a number above 0 and at most 1"),
        ("checks.bad_rows=keep", "checks.bad_rows=keep: expected one of fail, drop"),
        ("calibration=null", "calibration=null: no such choice; there are conformal"),
        ("seed=-1", "seed=-1: expected a whole number from 0"),
    ],
)
def test_a_value_that_cannot_be_is_named(argument: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINUS", "-3")
    with pytest.raises(ConfigError) as error:
        plan(compose("train", [*TRAIN, argument]))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_heads_share_the_width_evenly() -> None:
    with pytest.raises(ConfigError, match=r"model\.heads=3: model\.width=128"):
        plan(compose("train", [*TRAIN, "model=next_event_transformer", "model.heads=3"]))


@pytest.mark.parametrize(
    ("command", "group", "choice"),
    [("train", g, c) for g in ("sequences", "trainer", "features", "augment", "ensemble") for c in choices(g)]
    + [("train", "model", c) for c in ("next_event_gru", "autoencoder_gru", "masked_transformer", "one_class")]
    + [("train", "threshold", c) for c in choices("threshold") if c != "run"]
    + [("replay", g, c) for g in ("learner", "query") for c in choices(g)],
)
def test_no_number_of_a_group_may_be_below_nought(command: str, group: str, choice: str) -> None:
    needed = [*(TRAIN if command == "train" else ["out=x"]), f"{group}={choice}"]
    numbers = {
        key: value
        for key, value in _flat(compose(command, needed).values[group] or {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in ("low", "high")
    }
    for key in numbers:
        with pytest.raises(ConfigError, match=f"{key.rpartition('.')[2]}=-3: expected a"):
            compose(command, [*needed, f"{group}.{key}=-3"])


def test_names_are_those_of_the_code() -> None:
    from anomaly.models.objectives import EmbeddingObjective, EventObjective
    from anomaly.nn.encoders import Cell

    assert NAMES["cell"] == get_args(Cell) and NAMES["bad_rows"] == get_args(BadRows)
    assert NAMES["language"] == get_args(Language)
    assert NAMES["objective"] == get_args(EventObjective) + get_args(EmbeddingObjective)
