"""Nothing is called that was not judged by itself."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import pytest

from anomaly.commands.targets import instantiate, resolve
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "name",
    [
        "anomaly.scores.thresholds.Budget",
        "sklearn.ensemble.IsolationForest",
        "torch.optim.AdamW",
        "torch.nn.Linear",
        "pytorch_lightning.Trainer",
        "sklearn.pipeline.make_pipeline",
    ],
)
def test_trusted_targets_resolve(name: str) -> None:
    assert resolve(name).__name__ == name.rpartition(".")[2]


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "pathlib.Path",
        "torch.load",
        "torch.hub.load",
        "torch.Tensor",
        "pyod.utils.data.generate_data",
        "anomaly.commands.targets.importlib.import_module",
        "anomaly.atomic.shutil.rmtree",
        "anomaly.artifact.codec.Path",
        "anomaly.artifact.codec.load",
        "anomaly.commands.targets.functools.partial",
        "sklearn.utils.os.system",
        "sklearn.utils.extmath.np.fromfile",
        "pytorch_lightning.Trainer.fit",
        "torch.nn.init.normal_",
        "anomaly.__version__",
        "",
        "sklearn",
        None,
        3,
    ],
)
def test_everything_else_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError):
        resolve(name)


def test_a_foreign_package_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "intruder.py").write_text("class Detector:\n    def __init__(self, a=1):\n        self.a = a\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"allow=\[package\]"):
        instantiate({"_target_": "intruder.Detector"})
    assert "intruder" not in sys.modules
    assert instantiate({"_target_": "intruder.Detector", "a": 2}, allow=["intruder"]).a == 2


def test_all_are_judged_before_the_first_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noisy.py").write_text(
        "made = []\nclass Noisy:\n    def __init__(self, **k):\n        made.append(k)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = {"a": {"_target_": "noisy.Noisy"}, "b": [{"deep": {"_target_": "os.system", "command": "true"}}]}
    with pytest.raises(ConfigError, match=r"b\.0\.deep\._target_"):
        instantiate(config, allow=["noisy"])
    import noisy  # type: ignore[import-not-found]

    assert noisy.made == []


def test_nested_objects_and_plain_values_are_built() -> None:
    config = {
        "steps": [{"_target_": "sklearn.decomposition.PCA", "n_components": 2}, 3],
        "policy": {"_target_": "anomaly.scores.thresholds.Budget", "rate": 0.5},
        "later": {"_target_": "torch.nn.Linear", "_partial_": True, "in_features": 2},
        "plain": {"x": [1, "a", None]},
    }
    built = instantiate(config)
    assert built["steps"][0].n_components == 2 and built["steps"][1] == 3
    assert built["policy"].rate == 0.5
    assert isinstance(built["later"], functools.partial)
    assert built["plain"] == {"x": [1, "a", None]}


def test_a_wrong_argument_suggests_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"threshold\.raet: Budget has no argument 'raet'; did you mean rate"):
        instantiate({"_target_": "anomaly.scores.thresholds.Budget", "raet": 1}, where="threshold")
    with pytest.raises(ConfigError, match="did you mean Budget"):
        resolve("anomaly.scores.thresholds.Bugdet")
    with pytest.raises(ConfigError, match="refuses its arguments"):
        instantiate({"_target_": "torch.nn.Linear", "in_features": "x", "out_features": 1}, where="model")
