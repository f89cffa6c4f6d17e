"""What every test shares: real data where it lies, and no device or browser test where there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real data, or skip."""
    folder = os.environ.get("ANOMALY_DATA")
    if not folder:
        pytest.skip("ANOMALY_DATA is not set: no real data here")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if item.get_closest_marker("browser") and not shutil.which("chromium"):
            item.add_marker(pytest.mark.skip(reason="no chromium"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
