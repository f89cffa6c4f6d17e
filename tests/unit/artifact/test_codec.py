"""The codec gives back what it was given, and nothing else than what may be built."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import FunctionTransformer

from anomaly.artifact import codec
from anomaly.base import FeatureMatrix, Statistics
from anomaly.errors import ArtifactError
from anomaly.sequences.store import Field, SequenceStore
from anomaly.tree import pack, unpack

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Holder:
    """An object of the package, as far as the codec can tell: its module says so."""

    content: Any = None


Holder.__module__ = "anomaly.base"


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    import anomaly.base

    monkeypatch.setattr(anomaly.base, "Holder", Holder, raising=False)


def round_trip(value: Any, folder: Path) -> Any:
    codec.dump(Holder(value), folder / "object")
    return codec.load(folder / "object").content


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.just("!"), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(plain)
@settings(max_examples=30, deadline=None)
def test_plain_values_survive_json(value: Any) -> None:
    def refuse(value: Any, path: str) -> dict[str, Any]:
        raise AssertionError(path)

    text = json.dumps(pack(value, refuse), allow_nan=False)
    again = unpack(json.loads(text), refuse_note)
    assert repr(again) == repr(value)


def refuse_note(note: dict[str, Any]) -> Any:
    raise AssertionError(note)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "u2", "u8", "?", "<M8[us]", "<m8[s]", ">f8", "U3", "O"])
def test_arrays_survive_with_their_type(tmp_path: Path, dtype: str) -> None:
    value = np.arange(6).reshape(2, 3).astype(dtype)
    again = round_trip({"x": value, "none": value[:0], "view": value[:, ::2]}, tmp_path)
    assert again["x"].dtype == np.dtype(dtype).newbyteorder("=")
    for name, array in (("x", value), ("none", value[:0]), ("view", value[:, ::2])):
        np.testing.assert_array_equal(again[name], array)
        assert again[name].shape == array.shape


@given(st.lists(st.floats(width=32), min_size=1, max_size=5))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_floats_survive_bit_for_bit(tmp_path: Path, values: list[float]) -> None:
    value = np.array(values, np.float32)
    assert round_trip(value, tmp_path).tobytes() == value.tobytes()


def test_numpy_scalars_tuples_and_infinities_survive(tmp_path: Path) -> None:
    value = {"a": np.float32(0.1), "b": (1, (2,)), "c": float("-inf"), 7: np.int64(3), "d": np.bool_(True), "e": {3, 1}}
    again = round_trip(value, tmp_path)
    assert again == value
    assert type(again["a"]) is np.float32 and type(again[7]) is np.int64
    assert np.isnan(round_trip(float("nan"), tmp_path))


def test_tables_survive(tmp_path: Path) -> None:
    frame = pl.DataFrame({"é ü": [1, None], "t": [None, "x"], "when": pl.Series([0, 1]).cast(pl.Datetime("us", "UTC"))})
    again = round_trip({"frame": frame, "series": frame["t"]}, tmp_path)
    assert again["frame"].equals(frame) and again["frame"].schema == frame.schema
    assert again["series"].equals(frame["t"]) and again["series"].name == "t"


def test_records_of_the_package_survive(tmp_path: Path) -> None:
    matrix = FeatureMatrix(np.ones((2, 3), np.float32), ("a", "b", "c"), np.array([1, 2**63], np.uint64))
    bank = Statistics(np.ones((2, 1)), ("x",), ("both",))
    again = round_trip([matrix, bank], tmp_path)
    assert again[0].names == matrix.names and again[0].keys.tolist() == [1, 2**63]
    assert again[1].tails == ("both",)
    store = SequenceStore.from_codes(np.array([3, 4, 3]), [2, 1])
    assert round_trip(store, tmp_path).fields == (Field("field0", "categorical", 5),)


def test_estimators_survive_bit_for_bit(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    forest = IsolationForest(n_estimators=3, random_state=0).fit(X)
    again = round_trip({"a b/c": forest}, tmp_path)["a b/c"]
    np.testing.assert_array_equal(again.score_samples(X), forest.score_samples(X))


def test_weights_survive_bit_for_bit(tmp_path: Path) -> None:
    import torch

    from anomaly.models.next_event import NextEventModel

    model = NextEventModel(sizes=(5, 6), width=8, n_entities=3, n_sequences=4)
    again = round_trip(model, tmp_path)
    assert again.params == model.params and not again.training
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)


def test_learnt_attributes_survive_and_others_do_not(tmp_path: Path) -> None:
    holder = Holder(1)
    holder.weights_ = np.arange(3)  # type: ignore[attr-defined]
    holder.cache = object()  # type: ignore[attr-defined]
    codec.dump(holder, tmp_path / "x")
    again = codec.load(tmp_path / "x")
    assert again.weights_.tolist() == [0, 1, 2] and not hasattr(again, "cache")


@pytest.mark.parametrize("value", [lambda: 0, object(), open, 1j, np.array([1j]), pl.Series([object()])])
def test_unknown_types_are_refused_by_name_and_nothing_is_left(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ArtifactError, match=r"content.*cannot be written safely"):
        round_trip(value, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_object(tmp_path: Path) -> None:
    codec.dump(Holder("old"), tmp_path / "x")
    with pytest.raises(ArtifactError):
        codec.dump(Holder(object()), tmp_path / "x")
    assert codec.load(tmp_path / "x").content == "old"


@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "anomaly.artifact.codec:json.JSONDecoder"])
def test_only_classes_of_the_package_are_built(tmp_path: Path, name: str) -> None:
    codec.dump(Holder(), tmp_path / "x")
    path = tmp_path / "x" / "object.json"
    path.write_text(path.read_text().replace("anomaly.base:Holder", name))
    with pytest.raises(ArtifactError):
        codec.load(tmp_path / "x")


def test_a_package_that_is_named_is_allowed(tmp_path: Path) -> None:
    from collections import Counter

    class Foreign:
        def __init__(self, *, a: int) -> None:
            self.a = a

    Foreign.__module__, Foreign.__qualname__ = "statistics", "Foreign"
    with pytest.raises(ArtifactError, match="statistics:Foreign"):
        codec.dump(Foreign(a=1), tmp_path / "x")
    codec.dump(Foreign(a=1), tmp_path / "x", allow=["statistics"])
    with pytest.raises(ArtifactError, match="only classes of this package"):
        codec.load(tmp_path / "x")
    with pytest.raises(ArtifactError, match="Counter"):
        codec.dump(Holder(Counter()), tmp_path / "y")


def test_an_estimator_of_unknown_types_is_refused(tmp_path: Path) -> None:
    import os

    with pytest.raises(ArtifactError, match=r"FunctionTransformer.*posix\.system"):
        round_trip(FunctionTransformer(os.system), tmp_path)


def test_a_tampered_estimator_file_is_refused(tmp_path: Path) -> None:
    import skops.io

    folder = codec.dump(Holder(IsolationForest()), tmp_path / "x")
    file = next(folder.glob("*.skops"))
    skops.io.dump({"run": __import__("os").system}, file)
    with pytest.raises(ArtifactError, match=r"not trusted: posix\.system"):
        codec.load(folder)
    file.write_bytes(pickle.dumps(1))
    with pytest.raises(ArtifactError, match="damaged"):
        codec.load(folder)


def test_a_file_cut_short_is_one_clear_line(tmp_path: Path) -> None:
    file = codec.dump(Holder(np.ones(2)), tmp_path / "x") / "arrays.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match="x: missing, damaged"):
        codec.load(tmp_path / "x")


DAMAGES = [
    *("{", "[]", "", '{"!": "object"}', '{"!": "frame", "file": "../x"}', '{"!": "object", "class": 3}'),
    '{"!": "object", "class": "anomaly.nowhere:Nothing", "params": {}, "state": {}}',
    '{"!": "object", "class": "anomaly.base:FeatureMatrix", "params": []}',
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    codec.dump(Holder(np.ones(2)), tmp_path / "x")
    (tmp_path / "x" / "object.json").write_text(damage)
    with pytest.raises(ArtifactError) as error:
        codec.load(tmp_path / "x")
    assert "\n" not in str(error.value)
    with pytest.raises(ArtifactError, match="missing"):
        codec.load(tmp_path / "nowhere")
