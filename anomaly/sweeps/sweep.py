"""The cells of a sweep, and their way into the store: what is there is not run again."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.errors import AnomalyError, ConfigError
from anomaly.sweeps.cell import Cell, run_cell
from anomaly.sweeps.child import Child, Limits, wait_for, warm_server
from anomaly.sweeps.datasets import READING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from anomaly.sweeps.cell import Build, Row
    from anomaly.sweeps.datasets import DataSet
    from anomaly.sweeps.store import ResultStore

PACKAGES = ("anomaly", "numpy", "scikit-learn", "torch", "pyod", "polars")
_JUDGING = ("metrics", "sweeps")
"""Sources that every figure rests on, beyond those that read its data; in the room of sweeps these modules alone."""
_SWEEPS = (
    "cell.py",
    "competitors.py",
    "datasets.py",
    "eventrows.py",
    "floors.py",
    "folder.py",
    "splits.py",
    "tablerows.py",
    "task.py",
)


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes
    ----------
    competitors : configuration by name
    shard : (i, n): of the cells, sorted by key, the i-th of every n
    retry : run cells again that have failed
    steady : competitors whose scores no seed changes, although their constructors take one
    """

    competitors: dict[str, dict[str, Any]]
    data: Sequence[DataSet]
    seeds: Sequence[int] = (0,)
    labels: Sequence[float | None] = (None,)
    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    shard: tuple[int, int] = (0, 1)
    retry: bool = False
    steady: Sequence[str] = ()


def cells_of(plan: Plan, build: Build) -> list[Cell]:
    """Return the cells of a plan, set by set; where a seed changes nothing there is one cell for all seeds."""
    entries = [_entry(name, config, build) for name, config in plan.competitors.items()]
    found: dict[tuple[str, str], Cell] = {}
    for data in plan.data:
        for labels in plan.labels:
            drawn = _draws(data, labels)
            for entry in entries:
                for seed in plan.seeds if drawn or (entry.random and entry.name not in plan.steady) else [None]:
                    code = entry.code(data.rests_on)
                    cell = Cell(entry.name, entry.config, data, seed, labels, code, entry.versions)
                    found.setdefault((cell.key, cell.name), cell)
    mine, parts = plan.shard
    # By key, so that competitors whose cells share a key stay together and are run once.
    chosen = set(sorted({key for key, _ in found})[mine::parts])
    return [cell for (key, _), cell in found.items() if key in chosen]


def _draws(data: DataSet, labels: float | None) -> bool:
    """Return whether the seed decides which rows are read; of a set that cannot be read the cells say why."""
    try:
        return data.draws(labels)
    except Exception:
        return False


def run_sweep(
    cells: Sequence[Cell],
    store: ResultStore,
    plan: Plan,
    build: Build,
    *,
    done: Callable[[Row], None] = lambda row: None,
) -> int:
    """Run the cells that the store lacks, each in a process of its own, and return how many rows are new.

    Competitors of one configuration have one key: what was computed under one name is written under the others too.

    Parameters
    ----------
    done : called with every new row
    """
    kept = store.by_cell()
    lacking = [cell for cell in cells if not _settled(kept.get((cell.key, cell.name)), plan)]
    computed = {key: row for (key, _), row in kept.items() if _settled(row, plan)}
    waiting: dict[str, list[Cell]] = {}
    beaten: dict[str, str] = {}
    running: dict[Child, list[Cell]] = {}
    threads = plan.limits.threads

    def keep(named: list[Cell], row: Row) -> None:
        limits = {"limit_seconds": plan.limits.seconds, "limit_gb": plan.limits.memory_gb, "threads": threads}
        write(named, {**row, **limits, **_circumstances(named[0].versions)})
        first = named[0]
        if row["status"] == "skipped" and _apart_from_seed(first) not in beaten:
            beaten[_apart_from_seed(first)] = f"{row['reason']} (seen with seed {first.seed})"

    def write(named: list[Cell], row: Row) -> None:
        for cell in named:
            whole = {**row, **cell.facts()}
            store.write(whole)
            done(whole)

    for cell in lacking:
        if cell.key in computed:
            write([cell], computed[cell.key])
        else:
            waiting.setdefault(cell.key, []).append(cell)
    with warm_server(_modules(plan), threads):
        try:
            while waiting or running:
                while waiting and len(running) < plan.workers:
                    named = waiting.pop(next(iter(waiting)))
                    reason = beaten.get(_apart_from_seed(named[0]))
                    if reason is not None:
                        keep(named, {"status": "skipped", "reason": reason, "finished": _now()})
                        continue
                    running[Child(functools.partial(run_cell, named[0], build), plan.limits)] = named
                for child in wait_for(list(running)) if running else ():
                    keep(running.pop(child), {"finished": _now(), **child.end()})
        finally:
            for child in running:
                child.kill()
    return len(lacking)


def workers_for(wanted: int | None, limits: Limits) -> int:
    """Return how many cells run side by side: as many as wanted, at most what cores and free memory carry.

    More of them than cores would measure each other's time.
    """
    if wanted is not None and not isinstance(wanted, int):
        raise ConfigError(f"workers={wanted}: expected a number")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    carried = [cores // limits.threads]
    if limits.memory_gb is not None:
        carried.append(int(_free_gb() // limits.memory_gb))
    return max(min(carried if wanted is None else [wanted, *carried]), 1)


@functools.cache
def code_digest(parts: tuple[str, ...]) -> str:
    """Return the digest of sources of the package, and of the versions of what computes."""
    root = Path(__file__).parents[1]
    total = hashlib.sha256()
    for part in parts:
        for file in sorted((root / part).rglob("*.py")) if (root / part).is_dir() else [root / part]:
            if part != "sweeps" or file.name in _SWEEPS:
                total.update(file.name.encode() + file.read_bytes())
    total.update(json.dumps([_version(name) for name in ("numpy", "scikit-learn", "torch", "pyod")]).encode())
    return total.hexdigest()[:12]


@dataclass(frozen=True)
class _Entry:
    """A competitor, and what it said of itself."""

    name: str
    config: dict[str, Any]
    random: bool = False
    told: str = ""
    rests_on: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def code(self, reading: tuple[str, ...]) -> str:
        """Return the digest of the code that its figures rest on; `reading` is what its data rest on."""
        sources = (*_JUDGING, *reading)
        if self.rests_on:
            # What is the package's own reads tables the way that it reads events.
            sources = tuple(dict.fromkeys(("base.py", *_JUDGING, *READING, *self.rests_on)))
        return hashlib.sha256((code_digest(sources) + self.told).encode()).hexdigest()[:12]


def _entry(name: str, config: dict[str, Any], build: Build) -> _Entry:
    """Ask a competitor what its figures rest on; one that cannot be built fails in its cells, with the reason."""
    try:
        competitor = build(config)
        told = json.dumps(competitor.told(), sort_keys=True, default=str)
        versions = competitor.versions(PACKAGES)
        return _Entry(name, config, bool(competitor.uses_seed()), told, tuple(competitor.rests_on), versions)
    except (AnomalyError, ImportError, AttributeError, TypeError):
        return _Entry(name, config)


def _settled(row: Row | None, plan: Plan) -> bool:
    """Return whether a kept row stands: a skipped one only under limits that are no wider than those it met."""
    if row is None or (row["status"] == "failed" and plan.retry):
        return False
    if row["status"] != "skipped":
        return True
    wider = plan.limits.seconds > (row["limit_seconds"] or 0.0)
    if plan.limits.memory_gb is None:
        return not wider and row["limit_gb"] is None
    return not wider and (row["limit_gb"] is None or plan.limits.memory_gb <= row["limit_gb"])


def _apart_from_seed(cell: Cell) -> str:
    return replace(cell, seed=None).key


def _modules(plan: Plan) -> list[str]:
    """Return the modules that the competitors' classes live in; the server imports them once for all cells."""
    found = {str(t).rpartition(".")[0] for config in plan.competitors.values() for t in _targets(config)}
    return sorted(module for module in found if module.startswith(("pyod.models.", "sklearn.", "anomaly.")))


def _targets(config: Any) -> Iterable[Any]:
    if isinstance(config, dict):
        for key, value in config.items():
            yield from [value] if key == "_target_" else _targets(value)


def parse_shard(text: str | None) -> tuple[int, int]:
    """Return (i, n) of ``i/n``.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if text is None:
        return 0, 1
    first, _, second = str(text).partition("/")
    if not (first.isdigit() and second.isdigit() and int(first) < int(second)):
        raise ConfigError(f"shard={text}: expected i/n with i from 0 to n - 1, such as 0/4")
    return int(first), int(second)


def _circumstances(elsewhere: dict[str, str]) -> dict[str, str]:
    versions = {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES} | elsewhere
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "node": platform.node()}
    return {"versions": json.dumps(versions), "machine": json.dumps(machine)}


@functools.cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _free_gb() -> float:
    path = Path("/proc/meminfo")
    if not path.exists():
        return float("inf")
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return float(lines["MemAvailable"].split()[0]) * 1024 / 1e9


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
