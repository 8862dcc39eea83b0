"""One small recording in both orders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.batch.helpers import N_CHANNELS, N_OBS
from tests.strategies import make_array


@pytest.fixture
def data() -> np.ndarray:
    """Observations x channels."""
    return make_array((N_OBS, N_CHANNELS), "<i2", 1)


@pytest.fixture(params=["samples", "channels"])
def order(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def path(data: np.ndarray, order: str, tmp_path: Path) -> Path:
    (data if order == "samples" else data.T).tofile(tmp_path / "raw.bin")
    return tmp_path / "raw.bin"
