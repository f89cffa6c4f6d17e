"""`anomaly simulate`: a shop's log with fraud typologies and the truth beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.commands.console import Console
from anomaly.errors import ConfigError
from anomaly.explain.words import amount

if TYPE_CHECKING:
    from anomaly.commands.compose import Settings
    from anomaly.simulation.simulated import Simulated

_COMMON = ("out", "seed", "overwrite", "allow", "quiet", "log_level", "debug")


def command(settings: Settings) -> None:
    """Simulate a shop and write its three files."""
    values = settings.values
    out = Path(values["out"])
    if (out / "events.parquet").exists() and not values["overwrite"]:
        raise ConfigError(f"{out}: holds a log already; choose another out=, or replace it: overwrite=true")
    options = {key: value for key, value in values.items() if key not in _COMMON}
    with Console(quiet=values["quiet"]) as console:
        console.progress("simulating")
        simulated = simulate(seed=values["seed"], **options)
        simulated.save(out)
        labels = simulated.labels
        anomalous = int((labels["label"] == 1).sum())
        sizes = f"{amount(simulated.events.height, 'event')} in {amount(labels.height, 'session')}"
        console.say(f"{sizes}, {anomalous:,} of them anomalous, in {out}")


def simulate(*, seed: int | None = 7, **options: Any) -> Simulated:
    """Simulate a shop in memory: frames `events`, `labels`, `event_labels`.

    Parameters
    ----------
    options : see `anomaly.simulation.shop.Shop`
    """
    from anomaly.simulation.shop import Shop

    return Shop(random_state=seed, **options).simulate()
