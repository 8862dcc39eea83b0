"""Stimulus experiments: tables, conditions, joins, and building from fields."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from ecogsource.errors import ConfigError, DataPathError, JoinError
from ecogsource.expconfig import StimulatedExperiment, build_experiment, join_experiments

TONES = np.array([200.0, 100.0, 200.0, 100.0, 300.0])
AMPS = np.array([70.0, 70.0, 50.0, 70.0, 50.0])


@pytest.fixture
def experiment() -> StimulatedExperiment:
    return StimulatedExperiment(
        [10, 20, 30, 40, 50], {"tones": TONES, "amps": AMPS}, exp_type="tonotopy"
    )


def test_tables_and_attributes(experiment: StimulatedExperiment) -> None:
    assert len(experiment) == 5
    assert experiment.time_stamps.dtype == np.int64
    np.testing.assert_array_equal(experiment.tones, TONES)
    np.testing.assert_array_equal(experiment["amps"], AMPS)
    assert experiment.exp_type == "tonotopy"
    assert {"tones", "exp_type"} <= set(dir(experiment))
    assert repr(experiment) == ("StimulatedExperiment(5 events: tones (3 values), amps (2 values))")
    with pytest.raises(AttributeError, match="did you mean 'tones'"):
        _ = experiment.tone
    with pytest.raises(KeyError, match="no table 'level'"):
        experiment["level"]
    copied = pickle.loads(pickle.dumps(experiment))
    np.testing.assert_array_equal(copied.tones, TONES)


def test_conditions(experiment: StimulatedExperiment) -> None:
    numbers, conditions = experiment.enumerate_conditions()
    assert numbers.dtype == np.int64
    assert [tuple(c) for c in conditions] == [(100, 70), (200, 50), (200, 70), (300, 50)]
    assert conditions[0].tones == 100
    assert numbers.tolist() == [2, 0, 1, 0, 3]
    for condition, events in experiment.iterate_for("tones"):
        np.testing.assert_array_equal(events, np.flatnonzero(condition.tones == TONES))
    both = [(c.amps, c.tones, e.tolist()) for c, e in experiment.iterate_for(("amps", "tones"))]
    assert both == [(50, 200, [2]), (50, 300, [4]), (70, 100, [1, 3]), (70, 200, [0])]
    numbers, conditions = StimulatedExperiment([1, 2]).enumerate_conditions()
    assert numbers.tolist() == [0, 0]
    assert len(conditions) == 1


@pytest.mark.parametrize(
    "index",
    [slice(1, 4), [4, 0, 0], np.array([True, False, True, False, False]), slice(None, None, -1)],
)
def test_indexing_selects_events(experiment: StimulatedExperiment, index: object) -> None:
    part = experiment[index]
    np.testing.assert_array_equal(part.time_stamps, np.array([10, 20, 30, 40, 50])[index])
    np.testing.assert_array_equal(part.tones, TONES[index])
    assert part.exp_type == "tonotopy"
    assert experiment[-1].time_stamps.tolist() == [50]


def test_joining_moves_time_stamps_and_unites_conditions(
    experiment: StimulatedExperiment,
) -> None:
    other = StimulatedExperiment([5], {"tones": [400.0]}, exp_type="other")
    joined = experiment.join(other, 1000)
    assert joined.time_stamps.tolist() == [10, 20, 30, 40, 50, 1005]
    assert joined.tones.tolist() == [*TONES, 400.0]
    assert np.isnan(joined.amps[-1])
    assert "exp_type" not in joined.attributes
    assert experiment.shifted(7).time_stamps.tolist() == [17, 27, 37, 47, 57]
    words = StimulatedExperiment([1], {"word": ["a"]})
    assert join_experiments([words, other], [0, 10]).word.tolist() == ["a", ""]
    with pytest.raises(JoinError, match="text in one experiment"):
        join_experiments([words, StimulatedExperiment([1], {"word": [1.0]})], [0, 1])
    with pytest.raises(JoinError, match="one offset per experiment"):
        join_experiments([words], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]],), "one dimension"),
        (([1, 2], {"tones": [1]}), r"table 'tones' needs one value per event: got shape \(1,\)"),
        (([1], {"tones": [1]}, ["tone"]), "no table 'tone' for condition_order"),
    ],
)
def test_bad_experiments(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StimulatedExperiment(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tones.txt").write_text("# Hz\n100 200\n300,\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "amps.txt").write_text("70\n50\n")
    (tmp_path / "words.txt").write_text("left\nright\nleft\n")
    (tmp_path / "stim.txt").write_text("tone side\n100 left\n200 right\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "ragged.txt").write_text("a b\n1\n")
    (tmp_path / "header.txt").write_text("a b\n")
    return tmp_path


def test_tables_shorter_than_the_events_rotate(folder: Path) -> None:
    fields = {"exp_type": "tonotopy", "tones_tab": "tones.txt", "amps_tab": "amps.txt"}
    built = build_experiment(fields, np.arange(6), folder)
    assert built.tones.tolist() == [100, 200, 300, 100, 200, 300]
    assert built.amps.tolist() == [70, 50, 70, 50, 70, 50]
    assert built.exp_type == "tonotopy"
    assert built.stimulus == "tones"


def test_other_kinds_of_tables(folder: Path) -> None:
    assert build_experiment({"side_tab": "words.txt"}, [1, 2, 3], folder).side.tolist() == [
        "left",
        "right",
        "left",
    ]
    built = build_experiment({"tables": "stim.txt", "level_tab": "65"}, [1, 2], folder)
    assert built.tone.tolist() == [100, 200]
    assert built.side.tolist() == ["left", "right"]
    assert built.level.tolist() == [65, 65]
    assert len(build_experiment({"exp_type": None}, [], folder)) == 0


def test_1000_means_clicks(folder: Path) -> None:
    clicks = build_experiment({"tones_tab": "1000"}, [1, 2, 3], folder)
    assert clicks.stimulus == "clicks"
    assert clicks.tones.tolist() == [1000, 1000, 1000]


@pytest.mark.parametrize(
    ("fields", "n", "message"),
    [
        ({"tones_tab": "tones.txt"}, 4, r"table of 3 rows does not fit 4 events.*tones\.txt"),
        ({"tones_tab": "tones.txt"}, 2, "3 rows does not fit 2 events"),
        ({"tones_tab": "empty.txt"}, 2, "the table is empty"),
        ({"tables": "ragged.txt"}, 2, r"2 columns \['a', 'b'\], but a line holds \['1'\]"),
        ({"tables": "header.txt"}, 2, "no rows"),
    ],
)
def test_tables_that_do_not_fit(folder: Path, fields: dict[str, str], n: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_experiment(fields, np.arange(n), folder)


def test_partial_tables_on_request(folder: Path) -> None:
    fields = {"tones_tab": "tones.txt", "partial_tables": True}
    assert build_experiment(fields, np.arange(4), folder).tones.tolist() == [100, 200, 300, 100]
    assert build_experiment(fields, np.arange(2), folder).tones.tolist() == [100, 200]


def test_a_missing_table_names_the_places(folder: Path) -> None:
    with pytest.raises(DataPathError, match=r"no table 'x.txt' for tones_tab(.|\n)*tables.x\.txt"):
        build_experiment({"tones_tab": "x.txt"}, [1], folder)
