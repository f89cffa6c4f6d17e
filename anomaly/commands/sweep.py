"""`anomaly sweep`: competitors over data sets, seeds and label budgets."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.atomic import write_text
from anomaly.commands.console import Console
from anomaly.commands.plan import adapted
from anomaly.commands.targets import instantiate, resolve
from anomaly.errors import ConfigError
from anomaly.explain.words import amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly.commands.compose import Settings
    from anomaly.sweeps.competitors import Competitor
    from anomaly.sweeps.sweep import Plan

_KEYS = ("data", "competitors", "seeds", "labels", "rows", "limits", "steady")


def command(settings: Settings) -> None:
    """Run the cells that the store lacks, and say how each went."""
    from anomaly.sweeps.store import ResultStore
    from anomaly.sweeps.sweep import cells_of, run_sweep

    values = settings.values
    out = Path(values["out"])
    build = functools.partial(competitor, allow=settings.allow)
    with Console(quiet=values["quiet"]) as console:
        console.progress("looking at the data")
        plan = plan_of(values, out)
        store = ResultStore(out)
        cells = cells_of(plan, build)
        write_text(out / "sweep.yaml", settings.text)
        console.say(
            f"{amount(len(cells), 'cell')} of {amount(len(plan.data), 'data set')}, {plan.workers} at a time; "
            f"rows in {store.cells}"
        )
        count = [0]

        def done(row: dict[str, Any]) -> None:
            count[0] += 1
            console.say(f"{count[0]:>5}  {_line(row)}")

        ran = run_sweep(cells, store, plan, build, done=done)
        console.say(f"run: {amount(ran, 'cell')}, {len(cells) - ran} there before; anomaly leaderboard results={out}")


def competitor(config: dict[str, Any], allow: Sequence[str] = ()) -> Competitor:
    """Return what a configuration names; a detector takes part on features, a foreign one behind the adapter.

    Raises
    ------
    ConfigError
        If it names nothing that may be built.
    """
    from anomaly.sweeps.competitors import Competitor, OnFeatures

    target = resolve(str(config.get("_target_")), allow)
    if isinstance(target, type) and issubclass(target, Competitor):
        found: Competitor = instantiate(config, allow)
        return found
    return OnFeatures(detector=instantiate(adapted(config, allow, "competitor"), allow))


def plan_of(values: dict[str, Any], out: Path) -> Plan:
    """Return the plan of a configuration; simulated shops lie below `out`.

    Raises
    ------
    ConfigError
        If a key is missing, or no competitor or no data set is left.
    """
    from anomaly.sweeps.child import Limits
    from anomaly.sweeps.sweep import Plan, parse_shard, workers_for

    sweep = values["sweep"]
    wrong = set(sweep) - set(_KEYS)
    if wrong:
        raise ConfigError(f"sweep.{sorted(wrong)[0]}: no such key; there are {', '.join(_KEYS)}")
    limits = Limits(**sweep["limits"])
    return Plan(
        competitors=_chosen(sweep["competitors"], values["only"]),
        seeds=_seeds(sweep["seeds"]),
        labels=_labels(sweep["labels"]),
        data=_sets(sweep["data"], sweep["rows"], out),
        limits=limits,
        workers=workers_for(values["workers"], limits),
        shard=parse_shard(values["shard"]),
        retry=values["retry"],
        steady=sweep["steady"],
    )


def _seeds(seeds: Any) -> list[int]:
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise ConfigError(f"sweep.seeds={_shown(seeds)}: expected whole numbers from 0, such as [0,1]")
    return seeds


def _labels(labels: Any) -> list[float | None]:
    shares = [share for share in labels or () if share is not None]
    if not labels or not all(type(share) in (int, float) and 0 < share <= 1 for share in shares):
        raise ConfigError(f"sweep.labels={_shown(labels)}: expected shares above 0 and at most 1, or null for no label")
    return list(labels)


def _shown(values: Any) -> str:
    return f"[{','.join(map(str, values))}]" if isinstance(values, list) else str(values)


def _chosen(groups: dict[str, Any], only: Sequence[str] | None) -> dict[str, Any]:
    """Return the competitors by name: ``group.name``, or the name alone in the group ``own``."""
    if isinstance(only, str):
        raise ConfigError(f"only={only}: expected a list, such as only=[{only}]")
    known = {
        name if group == "own" else f"{group}.{name}": config
        for group, members in groups.items()
        for name, config in (members or {}).items()
        if config is not None
    }
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise ConfigError(f"only={unknown[0]}: no such competitor; there are {', '.join(known)}")
    chosen = {name: known[name] for name in only} if only else known
    if not chosen:
        raise ConfigError("sweep.competitors: none is left")
    return chosen


def _sets(names: Sequence[str], rows: int | None, out: Path) -> list[Any]:
    from anomaly.sweeps.datasets import find_sets
    from anomaly.sweeps.shops import SHARED, simulated

    root = os.environ.get("ANOMALY_DATA")
    found = []
    for name in names:
        if name.partition("/")[0] == "shop" or (root is None and name.partition("/")[0] in SHARED):
            found += find_sets([str(path) for path in simulated(name, out / "data")], None, rows)
        else:
            found += find_sets([name], None if root is None else Path(root), rows)
    if not found:
        raise ConfigError("sweep.data: none is left")
    return list({each.path.resolve(): each for each in found}.values())


def _line(row: dict[str, Any]) -> str:
    who = f"{row['set']} {row['competitor']}"
    who += "" if row["seed"] is None else f" seed {row['seed']}"
    who += "" if row["labels"] is None else f" labels {row['labels']:.0%}"
    if row["status"] != "ok":
        return f"{who}: {row['status']}: {row['reason']}"
    return f"{who}: AUROC {row['auroc']:.3f} AP {row['ap']:.3f}, {row['seconds']:.1f} s"
