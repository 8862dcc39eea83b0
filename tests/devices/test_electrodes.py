"""Named electrode arrays: those of the package, of the lab, and of probeinterface."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ecogsource.channel_map import CoordinateChannelMap
from ecogsource.devices import electrodes
from ecogsource.devices.electrodes import (
    ElectrodeLayout,
    available_electrodes,
    electrode_layout,
    from_probeinterface,
    read_electrode,
    to_probeinterface,
    write_electrode,
)
from ecogsource.errors import ConfigError, FormatError


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "electrodes"
    folder.mkdir()
    monkeypatch.setattr(electrodes, "electrode_folder", lambda: folder)
    return folder


@pytest.mark.parametrize("name", available_electrodes())
def test_every_named_array_is_consistent(name: str) -> None:
    layout = electrode_layout(name)
    parts = [
        layout.electrode_channels,
        layout.grounded_channels,
        layout.reference_channels,
        layout.other_channels,
    ]
    assert np.sort(np.concatenate(parts)).tolist() == list(range(layout.n_channels))
    assert len(layout.channel_map) == layout.electrode_channels.size > 0
    assert np.all(np.diff(layout.electrode_channels) > 0)


def test_a_named_array() -> None:
    layout = electrode_layout("PSV_61_intan2")
    assert layout.n_channels == 64
    assert len(layout.channel_map) == 61
    assert layout.grounded_channels.tolist() == [1, 31, 63]
    assert layout.channel_map.rlookup(0) == (2, 3)
    assert layout.channel_map.rlookup(1) == (0, 3)
    assert layout.channel_map.pitch == (0.42, 0.42)
    assert isinstance(electrode_layout("rat_varspace_intan").channel_map, CoordinateChannelMap)
    assert electrode_layout("rat_refelectrode_intan").reference_channels.size == 2


def test_grids_by_name() -> None:
    layout = electrode_layout("grid_2x3_0.5")
    assert list(zip(*map(np.ndarray.tolist, layout.channel_map.to_mat()), strict=True)) == [
        (0, 0),
        (1, 0),
        (0, 1),
        (1, 1),
        (0, 2),
        (1, 2),
    ]
    assert layout.channel_map.pitch == (0.5, 0.5)


def test_an_unknown_array_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'psv_61_intan3'; did you mean 'psv_61"):
        electrode_layout("psv_61_intan3")


def test_arrays_of_the_lab(own_folder: Path) -> None:
    (own_folder / "mine.csv").write_text(
        "# pitch_mm = 0.25\nchannel,row,col\n0,0,0\n2,1,2\n1,grounded,\n"
    )
    (own_folder / "notes.txt").write_text("nothing")
    assert "mine" in available_electrodes()
    layout = electrode_layout("Mine")
    assert layout.electrode_channels.tolist() == [0, 2]
    assert layout.grounded_channels.tolist() == [1]
    assert layout.channel_map.geometry == (2, 3)
    assert layout.channel_map.pitch == (0.25, 0.25)


@pytest.mark.parametrize("name", ["psv_61_intan2", "rat_varspace_intan"])
def test_files_round_trip(name: str, tmp_path: Path) -> None:
    layout = electrode_layout(name)
    path = tmp_path / f"{name}.csv"
    write_electrode(layout, path)
    again = read_electrode(path)
    np.testing.assert_allclose(again.channel_map.positions(), layout.channel_map.positions())
    assert again.electrode_channels.tolist() == layout.electrode_channels.tolist()
    assert again.grounded_channels.tolist() == layout.grounded_channels.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channel,row\n0,1\n", "expected columns channel,row,col"),
        ("channel,row,col\n0,one,1\n", "row 2: cannot be read"),
        ("channel,row,col\n0,0,0\n2,0,1\n", "channels must be 0 to 1, each once"),
        ("# pitch\nchannel,row,col\n0,0,0\n", "line 1: expected '# pitch_mm"),
        ("channel,row,col\n0,-1,0\n", "electrode 'bad': the geometry is"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read_electrode(path)


def test_bad_sites() -> None:
    with pytest.raises(FormatError, match="channel 1 of electrode 'x' is 'broken'"):
        ElectrodeLayout.from_sites("x", [[0, 0], "broken"], (1, 1))


def test_connectors_plugged_in_another_order() -> None:
    sites = [[0, 0], "grounded", [1, 0], [1, 1]]
    layout = ElectrodeLayout.from_sites("x", sites, (2, 2))
    swapped = layout.rewired(["b", "a"])
    assert swapped.electrode_channels.tolist() == [0, 1, 2]
    assert swapped.grounded_channels.tolist() == [3]
    assert [swapped.channel_map.rlookup(k) for k in range(3)] == [(1, 0), (1, 1), (0, 0)]
    assert layout.rewired((0, 1)).channel_map == layout.channel_map
    for wrong in (["a", "a"], ["a", "c"], [0, 1, 2]):
        with pytest.raises(ConfigError, match="must name each connector"):
            layout.rewired(wrong)


def test_probeinterface_there_and_back(tmp_path: Path) -> None:
    probeinterface = pytest.importorskip("probeinterface")
    layout = electrode_layout("psv_61_intan2")
    probe = to_probeinterface(layout)
    again = from_probeinterface(probe, "copy")
    np.testing.assert_allclose(again.channel_map.positions(), layout.channel_map.positions())
    assert again.electrode_channels.tolist() == layout.electrode_channels.tolist()
    assert again.other_channels.tolist() == [1, 31]
    path = tmp_path / "mine.json"
    probeinterface.write_probeinterface(path, probe)
    read = read_electrode(path)
    np.testing.assert_allclose(read.channel_map.positions(), layout.channel_map.positions())


def test_probes_that_are_no_layout() -> None:
    places = np.array([[0.0, 0.0], [20.0, 0.0]])
    probe = SimpleNamespace(
        ndim=2, si_units="um", contact_positions=places, device_channel_indices=np.array([1, -1])
    )
    layout = from_probeinterface(probe)
    assert layout.electrode_channels.tolist() == [1]
    assert layout.other_channels.tolist() == [0]
    probe.device_channel_indices = np.array([0, 0])
    with pytest.raises(FormatError, match="several contacts"):
        from_probeinterface(probe)
    probe.device_channel_indices = None
    np.testing.assert_allclose(from_probeinterface(probe).channel_map.positions()[1], [0.02, 0])
    probe.ndim = 3
    with pytest.raises(FormatError, match="one plane"):
        from_probeinterface(probe)
