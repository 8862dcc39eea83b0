"""Loading by the name of a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ecogsource.datasets import (
    load_datasets,
    load_experiment_auto,
    load_experiment_manual,
    loader_for,
)
from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.devices import OpenEphysLoader, TriggerWarning, check_database
from ecogsource.errors import ConfigError, DataPathError, JoinError
from ecogsource.params import OVERRIDE
from tests.devices.files import PULSES, pulse_line, write_packed

FLOATS = np.random.default_rng(0).normal(size=(64, 1000)).astype(np.float32)
ADC = np.stack([pulse_line(1000), np.zeros(1000, np.float32)])

SESSION = """\
[DEFAULT]
exp_type = tonotopy

[session]
exp_path = %(local_exp)s/day
nwk_path = %(network_exp)s/day
headstage = openephys
electrode = psv_61_intan2
trigger_idx = 0

[rec_1]
tones_tab = tones.txt

[rec_2]
tones_tab = 1000
mapped = False

[rec_3]
tones_tab = long.txt

[rec_4]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    group = tmp_path / "sessions" / "rat"
    group.mkdir(parents=True)
    (group / "day.txt").write_text(SESSION)
    (group / "tones.txt").write_text("100\n200\n300\n")
    (group / "long.txt").write_text("1 2 3 4")
    for name in ("rec_1", "rec_3"):
        write_packed(tmp_path / "local" / "day" / f"{name}.h5", FLOATS, "chdata", adc=ADC)
    write_packed(tmp_path / "net" / "day" / "rec_2.h5", FLOATS, "chdata", adc=ADC)
    with OVERRIDE.set(
        user_sessions=tmp_path / "sessions",
        local_exp=tmp_path / "local",
        network_exp=tmp_path / "net",
    ):
        yield tmp_path


def test_a_recording_by_name(lab: Path) -> None:
    dataset = load_experiment_auto("rat/day", "rec_1")
    assert (dataset.name, dataset.session) == ("rec_1", "rat/day")
    assert isinstance(dataset.data, MappedSource)
    assert dataset.data.shape == (61, 1000)
    assert dataset.exp.time_stamps.tolist() == list(PULSES)
    assert dataset.exp.tones.tolist() == [100, 200, 300]
    assert dataset.exp.exp_type == "tonotopy"


def test_sections_and_overrides(lab: Path) -> None:
    # rec_2 lies on the network only, and its section says mapped = False
    dataset = load_experiment_auto("rat/day", "rec_2")
    assert isinstance(dataset.data, PlainArraySource)
    assert dataset.exp.stimulus == "clicks"
    mapped = load_experiment_auto("rat/day", "rec_2", mapped=True, electrode=None)
    assert isinstance(mapped.data, MappedSource)
    assert mapped.data.shape == (64, 1000)
    assert mapped.chan_map is None
    with pytest.raises(TypeError, match="unknown load option 'maped'; did you mean 'mapped'"):
        load_experiment_auto("rat/day", "rec_1", maped=True)


def test_a_recording_without_a_section(lab: Path) -> None:
    write_packed(lab / "local" / "day" / "extra.h5", FLOATS, "chdata", adc=ADC)
    assert len(load_experiment_auto("rat/day", "extra").exp) == 3


def test_nothing_is_loaded_by_asking_for_the_loader(lab: Path) -> None:
    loader = loader_for("rat/day", "rec_1")
    assert isinstance(loader, OpenEphysLoader)
    assert loader.source_file.path == lab / "local" / "day" / "rec_1.h5"


def test_what_is_missing_or_does_not_fit(lab: Path) -> None:
    with pytest.raises(DataPathError) as caught:
        load_experiment_auto("rat/day", "rec_4")
    for folder in ("local", "net"):
        assert str(lab / folder / "day" / "rec_4.h5") in str(caught.value)
    with pytest.raises(ConfigError, match="table of 4 rows does not fit 3 events"):
        load_experiment_auto("rat/day", "rec_3")
    with pytest.raises(DataPathError, match="no session 'rat/dya'; did you mean 'rat/day'"):
        load_experiment_auto("rat/dya", "rec_1")
    with pytest.raises(ConfigError, match="unknown electrode"):
        load_experiment_auto("rat/day", "rec_1", electrode="nothing like it")
    group = lab / "sessions" / "rat"
    (group / "bad.txt").write_text("[session]\nheadstage = opnephys\n")
    with pytest.raises(ConfigError, match=r"did you mean 'open.*bad\.txt.*key 'headstage'"):
        load_experiment_auto("rat/bad", "rec_1")
    (group / "none.txt").write_text("[session]\n")
    with pytest.raises(ConfigError, match=r"no headstage is named.*none\.txt"):
        load_experiment_auto("rat/none", "rec_1")


def test_by_hand(lab: Path) -> None:
    folder = lab / "local" / "day"
    dataset = load_experiment_manual(folder, "rec_1", "openephys", "psv_61_intan2", trigger_idx=0)
    assert len(dataset.exp) == 3
    with pytest.raises(TypeError, match="unknown load option 'trigger'"):
        load_experiment_manual([folder], "rec_1", "openephys", trigger=0)
    with pytest.warns(TriggerWarning):
        load_experiment_manual([folder], "rec_1", "openephys", trigger_idx=5)


def test_several_at_once(lab: Path) -> None:
    joined = load_datasets("rat/day", ["rec_1", "rec_2"], load_kwargs={"mapped": True})
    assert (joined.name, joined.session) == ("rec_1, rec_2", "rat/day")
    assert joined.data.shape == (61, 2000)
    assert joined.exp.time_stamps.tolist() == [*PULSES, *(1000 + start for start in PULSES)]
    loaded = load_datasets("rat/day", "rec_1", source_type="loaded")
    assert isinstance(loaded.data, PlainArraySource)
    with pytest.raises(JoinError, match="nothing to join"):
        load_datasets("rat/day", [])


def test_checking_the_database(lab: Path) -> None:
    group = lab / "sessions" / "rat"
    (group / "odd.txt").write_text(
        "[session]\nheadstage = openephys\nelectrde = psv_61\nexp_path = %(local_exp)s/day\n"
        "[rec_1]\nmapepd = True\n[rec_9]\nelectrode = psv_99_x\n"
    )
    (group / "broken.txt").write_text("[session]\nnonsense\n")
    (group / "wild.txt").write_text("[session]\nheadstage = generic\nfs = 10\n[r]\nbandpass = 1\n")
    findings = check_database("rat")
    said = [(one.session, one.recording, one.kind) for one in findings]
    assert said == [
        ("rat/broken", None, "unreadable"),
        ("rat/day", "rec_1", "found"),
        ("rat/day", "rec_2", "found"),
        ("rat/day", "rec_3", "found"),
        ("rat/day", "rec_4", "missing"),
        ("rat/odd", None, "unknown key"),
        ("rat/odd", "rec_1", "unknown key"),
        ("rat/odd", "rec_1", "found"),
        ("rat/odd", "rec_9", "bad value"),
        ("rat/wild", "r", "bad value"),
    ]
    messages = [one.message for one in findings]
    assert messages[2] == str(lab / "net" / "day" / "rec_2.h5")
    assert "did you mean 'electrode'" in messages[5]
    assert "unknown key 'mapepd' in [rec_1]; did you mean 'mapped'" in messages[6]
    assert [one.ok for one in findings].count(True) == 4


def test_comments_behind_values_are_found(lab: Path) -> None:
    group = lab / "sessions" / "rat"
    (group / "noted.txt").write_text(
        "[session]\nheadstage = openephys\nexp_path = %(local_exp)s/day ; on the old disk\n"
        "# a whole line is fine\n[rec_1]\nunits = uV  # as ever\n"
    )
    findings = [one for one in check_database("rat") if one.session == "rat/noted"]
    assert [(one.recording, one.kind) for one in findings[:2]] == [
        (None, "bad value"),
        ("rec_1", "bad value"),
    ]
    assert findings[0].message == (
        "the value of 'exp_path' in [session] ends in '; on the old disk': a comment stands on a "
        "line of its own"
    )
