"""A configuration to the objects it names, all of them built before anything is read or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anomaly.commands.targets import instantiate, resolve
from anomaly.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anomaly.commands.compose import Settings
    from anomaly.events.encoder import EventEncoder
    from anomaly.events.schema import EventSchema
    from anomaly.scores.thresholds import ThresholdPolicy

_ADAPTER = "anomaly.detectors.classical.PyODDetector"
_SOURCES = ("path",)
"""Keys of the group `events` that say where rows are, not what they hold."""


@dataclass(frozen=True)
class Plan:
    """What `train` fits."""

    schema: EventSchema
    encoder: EventEncoder
    ensemble: Any
    policy: ThresholdPolicy


def plan(settings: Settings) -> Plan:
    """Build everything that a training's configuration names.

    Raises
    ------
    ConfigError
        If a target is not trusted, an argument does not exist, or a value cannot be.
    """
    from anomaly.events.encoder import EventEncoder

    values = settings.values
    if values["unit"] not in ("sequence", "event"):
        raise ConfigError(f"unit={values['unit']}: expected sequence or event")
    if values.get("model"):
        _check_model(values["model"], values["trainer"])
    encoder = {k: v for k, v in values["sequences"].items() if k != "memory"}
    return Plan(schema(values["events"]), EventEncoder(**encoder), _ensemble(settings), _required_policy(settings))


def schema(events: Mapping[str, Any]) -> EventSchema:
    """Return the stated roles of the columns."""
    from anomaly.events.schema import EventSchema

    return EventSchema.of({k: v for k, v in events.items() if k not in _SOURCES})


def policy(settings: Settings) -> ThresholdPolicy | None:
    """Return the threshold policy of a configuration, None for the run's own."""
    config = settings.values.get("threshold")
    found: ThresholdPolicy | None = instantiate(config, settings.allow, "threshold") if config else None
    if found is not None:
        found.check()
    return found


def _check_model(model: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
    from anomaly.models.training import time_limit

    time_limit(trainer["max_time"])
    if model.get("cell") == "transformer" and model["width"] % (2 * model["heads"]):
        raise ConfigError(f"model.heads={model['heads']}: model.width={model['width']} is no multiple of twice as many")


def _required_policy(settings: Settings) -> ThresholdPolicy:
    found = policy(settings)
    if found is None:
        raise ConfigError("threshold=run: there is no run yet; choose budget, fpr, fdr, cost or contamination")
    return found


def _ensemble(settings: Settings) -> Any:
    """Build members, corruptions and whatever else the ensemble takes in one go, so that all are judged first."""
    values = settings.values
    config = {
        **values["ensemble"],
        "members": _members(settings),
        "corruptions": values.get("corruption") or {},
        "calibrator": values["calibration"],
        "aggregates": values["features"],
        "unit": values["unit"],
        "random_state": values["seed"],
    }
    return instantiate(config, settings.allow, "ensemble")


def _members(settings: Settings) -> dict[str, Any]:
    values = settings.values
    model = values.get("model")
    # Named by what it is trained for, so that a reader of the scores knows.
    # A choice of several settings, such as experiment=quick, may leave keys behind where there is no model.
    members = {str(model.get("objective", "model")): model} if model and "_target_" in model else {}
    for name, config in (values.get("detector") or {}).items():
        if config is None:
            continue
        members[str(name)] = adapted(config, settings.allow, f"detector.{name}")
    if not members:
        raise ConfigError("no member is left; choose a model or a detector")
    return members


def adapted(config: Any, allow: Sequence[str], where: str) -> dict[str, Any]:
    """Return the configuration of a detector, a foreign one behind the adapter that keeps the laws.

    Raises
    ------
    ConfigError
        If it names nothing that may be built.
    """
    from anomaly.base import Detector

    if not isinstance(config, dict) or "_target_" not in config:
        raise ConfigError(f"{where}: expected a _target_ and its arguments, got {config!r}")
    target = resolve(config["_target_"], allow, f"{where}._target_")
    if isinstance(target, type) and issubclass(target, Detector):
        return dict(config)
    return {"_target_": _ADAPTER, "_recursive_": False, "detector": dict(config)}
