"""What every benchmark writes beside its figures: hardware, versions, date; and how it is named."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]


def cores() -> int:
    """Return the processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def hardware() -> dict[str, Any]:
    """Return what the machine is and how busy it was; other work on a shared machine moves absolute figures."""
    load = [round(x, 1) for x in os.getloadavg()]
    return {"machine": platform.machine(), "processor": _processor(), "cores": cores(), "load_1_5_15_min": load}


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of some packages."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def code() -> dict[str, str]:
    """Return the commit, and a digest of the package's sources, which a commit does not tell in a changed tree."""
    digest = sha256()
    for path in sorted([*(ROOT / "anomaly").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]):
        digest.update(path.read_bytes())
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return {"commit": "unknown", "sources": digest.hexdigest()[:16]}
    return {"commit": done.stdout.strip() or "unknown", "sources": digest.hexdigest()[:16]}


def stamp(theme: str, *packages: str) -> dict[str, Any]:
    """Return the head of a result."""
    today = datetime.now(UTC).date().isoformat()
    return {
        "theme": theme,
        "hardware": hardware(),
        "versions": versions(*packages),
        "date": today,
        "code": code(),
    }


def result_path(theme: str, folder: Path = RESULTS, hardware: str | None = None) -> Path:
    """Return where today's result of a theme on this hardware lies, by default the processor's cores."""
    return folder / f"{theme}_{hardware or f'cpu{cores()}'}_{datetime.now(UTC):%Y%m%d}.json"


def write_json(path: Path, document: Any) -> None:
    """Write a document under a temporary name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draft.rename(path)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
