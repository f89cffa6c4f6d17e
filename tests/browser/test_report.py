"""The report in a real browser: it renders, it keeps to its width, and its policy blocks none of its own style."""

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from anomaly.report import Case, CaseEvent, ReportData, write_report

pytestmark = pytest.mark.browser
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-extensions --no-first-run "
    "--disable-dev-shm-usage --hide-scrollbars --force-device-scale-factor=1 --enable-logging=stderr --log-level=0"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    n, rng = 500, np.random.default_rng(0)
    p = 1 - rng.random(n)
    scores = pl.DataFrame({"sequence": np.arange(n), "entity": np.arange(n) % 50, "length": 9, "score": -np.log10(p)})
    scores = scores.with_columns(p_value=p, flagged=p < 0.02, rank=p.argsort().argsort() + 1)
    events = [CaseEvent(k, "2024-01-01 12:00", {"event": "w" * 70}, 1.0 + k, "event") for k in range(9)]
    top = scores.sort("rank").head(3).iter_rows(named=True)
    cases = [Case(row["sequence"], row["entity"], row["rank"], row["score"], row["p_value"], events) for row in top]
    data = ReportData(title="x" * 90, scores=scores, timelines=cases, warnings=["mind"], held_out_p_values=p)
    return write_report(data, tmp_path_factory.mktemp("page") / "report.html")


def shoot(page: Path, width: int, *, dark: bool = False) -> tuple[np.ndarray, str]:
    from matplotlib.image import imread

    picture = page.with_name(f"{width}.png")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = ["chromium", *FLAGS.split(), *scheme, f"--user-data-dir={page.parent / 'profile'}"]
    command += [f"--window-size={width},1600", f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return imread(picture)[..., :3], done.stderr


@pytest.mark.parametrize("width", [1280, 560])
def test_page_renders_within_its_policy_and_width(page, width):
    pixels, log = shoot(page, width)
    assert pixels.shape[:2] == (1600, width)
    assert "Content Security Policy" not in log
    assert (pixels[:, -8:] > 0.99).all()
    colours = pixels.reshape(-1, 3)
    alert, accent = np.array([184, 74, 0]) / 255, np.array([11, 98, 164]) / 255
    for colour in (alert, accent):
        assert (np.abs(colours - colour).max(axis=1) < 0.02).sum() > 100


def test_dark_page_is_dark(page):
    pixels, _ = shoot(page, 800, dark=True)
    assert np.median(pixels) < 0.15
    assert pixels.max() > 0.8
