"""The example configuration that comes with the source parses, and is what the demo uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsource.demos import session_files
from ecogsource.devices import find_loader, params_table
from ecogsource.devices.electrodes import read_electrode
from ecogsource.expconfig import (
    OVERRIDE,
    available_sessions,
    session_conf,
    session_groups,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_the_demo_uses_the_example_database() -> None:
    root = CONFIGS / "user_sessions"
    found = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in root.rglob("*.txt")
    }
    assert found == session_files()


def test_every_example_session_parses() -> None:
    with OVERRIDE.set(user_sessions=CONFIGS / "user_sessions"):
        assert session_groups() == ["16011", "16017", "demo"]
        for session in available_sessions():
            conf = session_conf(session, params_table)
            assert len(conf) > 1
            assert find_loader(conf.session.headstage)
        tones = session_conf("16017/2016-09-26_awake")
        recordings = [name for name in tones if "tones_tab" in tones[name]]
        assert len([name for name in recordings if tones[name].tones_tab.endswith("txt")]) == 6


@pytest.mark.parametrize("path", sorted((CONFIGS / "electrodes").iterdir()), ids=lambda p: p.name)
def test_every_example_electrode_reads(path: Path) -> None:
    layout = read_electrode(path)
    assert layout.n_channels == 8
    assert len(layout.channel_map) == 6
    assert layout.reference_channels.tolist() == [7]
