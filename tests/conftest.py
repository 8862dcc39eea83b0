"""Fixtures that every room shares, and the house's Hypothesis profiles."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# tmp_path is shared by the examples of one test: tests that write files name them anew each time.
_quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile(
    "ci", max_examples=100, derandomize=True, deadline=None, suppress_health_check=_quiet
)
settings.register_profile("nightly", max_examples=5000, deadline=None, suppress_health_check=_quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def _no_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point every folder of the user to a temporary one, for this process and its children."""
    home = tmp_path_factory.mktemp("home")
    config = home / "ecogsource.ini"
    folders = {name: home / name for name in ("local_exp", "network_exp", "user_sessions", "stash")}
    for folder in folders.values():
        folder.mkdir()
    config.write_text(
        "[params]\n"
        f"local_exp = {folders['local_exp']}\n"
        f"network_exp = {folders['network_exp']}\n"
        f"user_sessions = {folders['user_sessions']}\n"
        f"stash_path = {folders['stash']}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECOGSOURCE_CONFIG", str(config))
        for kind in ("CONFIG", "DATA", "STATE", "CACHE"):
            patch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
        patch.setenv("MPLBACKEND", "Agg")
        # Matplotlib's font cache takes seconds to build: it is kept between runs.
        patch.setenv("MPLCONFIGDIR", str(ROOT / ".pytest_cache" / "matplotlib"))
        yield


@pytest.fixture(autouse=True)
def _no_override() -> Iterator[None]:
    """Let no test leave an overridden parameter behind."""
    yield
    params = sys.modules.get("ecogsource.params")
    if params is not None:
        params.OVERRIDE.clear()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings; tests skip where it is absent."""
    folder = Path(os.environ.get("ECOGSOURCE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "reference.json").is_file():
        pytest.skip(f"no folder of real recordings at {folder} (set ECOGSOURCE_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> list[dict[str, Any]]:
    """Reference values of the real recordings: one dictionary per file and stream."""
    return json.loads((shared_data / "reference.json").read_text(encoding="utf-8"))
