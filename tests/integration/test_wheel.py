"""A wheel brings its configuration, and works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_wheel_finds_its_configuration(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {"anomaly/conf/train.yaml", "anomaly/py.typed", "anomaly/report/templates/page.html"} <= set(names)
    page = ("templates/case.html", "static/session.js", "static/queue.js", "static/session.css", "static/icon.svg")
    assert {f"anomaly/labelling/{name}" for name in page} <= set(names)
    assert not [name for name in names if name.startswith("tests")]
    # -P and the path keep the checkout out of sight.
    run = [sys.executable, "-P", "-m", "anomaly", "simulate", "out=shop", "users=20", "days=10"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    where = "import anomaly, sys; sys.exit('site' not in anomaly.__file__)"
    subprocess.run([sys.executable, "-P", "-c", where], cwd=tmp_path, env=environment, check=True)
    subprocess.run(run, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "shop" / "events.parquet").exists()
