"""Splits share no sample, keep together what belongs together, and have their shares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource import MappedSource
from ecogsource.windows import DataFile, WindowDataset
from tests.windows.helper import mask_of, write_recording


def samples(windows: WindowDataset) -> list[set[int]]:
    """Collect all samples that any window of a random dataset may hold, by source."""
    found: list[set[int]] = [set() for _ in windows.sources]
    part, start, _ = windows._table.at(np.arange(windows.n_starts))
    for number, first in zip(part.tolist(), start.tolist(), strict=True):
        found[number].update(range(first, first + windows.length))
    return found


@given(
    st.lists(st.integers(120, 400), min_size=1, max_size=4),
    st.integers(1, 12),
    st.integers(0, 9),
    st.sampled_from([(0.8, 0.2), (0.5, 0.25, 0.25), (0.4, 0.4), (1.0,)]),
)
def test_parts_in_time_share_no_sample_and_keep_their_distance(lengths, length, gap, fractions):
    sources = [np.zeros((1, n)) for n in lengths]
    whole = WindowDataset(sources, length)
    parts = whole.split("time", fractions, gap=gap)
    assert len(parts) == len(fractions)
    for number, n_samples in enumerate(lengths):
        sets = [samples(part)[number] for part in parts]
        for before, after in itertools.pairwise(sets):
            assert max(before) + gap < min(after)
        for share, mine in zip(fractions, sets, strict=True):
            assert abs(len(mine) - share * n_samples) <= gap + 1


def test_masks_events_and_strides_stay(tmp_path):
    bad = mask_of(1000, (300, 420))
    options = {"masks": [bad], "around": np.arange(0, 1000, 50), "offset": -5, "stride": 1}
    whole = WindowDataset(np.zeros((1, 1000)), 20, **options)
    train, test = whole.split("time", (0.5, 0.5))
    found = [[part.locate(i).start for i in range(len(part))] for part in (train, test)]
    starts = [e - 5 for e in range(50, 1000, 50) if not bad[e - 5 : e + 15].any()]
    assert found == [[s for s in starts if s + 20 <= 500], [s for s in starts if s >= 500]]


def test_a_part_can_be_split_again():
    train, test = WindowDataset(np.zeros((1, 1000)), 10, n_windows=100).split()
    inner, valid = train.split("time", (0.5, 0.5))
    assert max(samples(inner)[0]) == 399
    assert (min(samples(valid)[0]), max(samples(valid)[0])) == (400, 799)
    assert min(samples(test)[0]) == 800
    assert (len(train), len(test), len(inner)) == (80, 20, 40)


@pytest.mark.parametrize("by", ["file", "session"])
def test_whole_files_or_sessions(by):
    groups = {f"s{n}": [np.zeros((1, 100))] * 3 for n in range(10)}
    whole = WindowDataset(groups, 10, seed=2)
    train, valid, test = whole.split(by, {"train": 0.6, "valid": 0.2, "test": 0.2})
    mine = [{n for n, found in enumerate(samples(part)) if found} for part in (train, valid, test)]
    assert set.union(*mine) == set(range(30))
    assert sum(map(len, mine)) == 30
    # All three sources of a session are one array, so it stays together by file too.
    assert [len(one) for one in mine] == [18, 6, 6]
    assert all(len({n // 3 for n in one}) * 3 == len(one) for one in mine)
    again = whole.split(by, (0.6, 0.2, 0.2))
    assert [samples(part) for part in again] == [samples(part) for part in (train, valid, test)]


def test_the_seed_chooses_which_files():
    sources = [np.zeros((1, 100 + n)) for n in range(12)]
    chosen = set()
    for seed in range(6):
        test = WindowDataset(sources, 9, seed=seed).split("file")[1]
        chosen.add(tuple(n for n, found in enumerate(samples(test)) if found))
    assert len(chosen) > 1
    test = WindowDataset(sources, 9).split("file", (0.5, 0.1))[1]
    assert sum(bool(s) for s in samples(test)) in (1, 2)


def test_sources_of_one_file_stay_together(tmp_path):
    files = [
        DataFile(write_recording(tmp_path, rec_id=f"r{n}", n_samples=100)[0]) for n in range(6)
    ]
    halves = [MappedSource(file.source.data_buffer, transpose=True, fs=1000) for file in files]
    whole = WindowDataset([*files, *halves], 10)
    for part in whole.split("file", (0.5, 0.5)):
        mine = {n for n, found in enumerate(samples(part)) if found}
        assert {n % 6 for n in mine} == {n for n in mine if n < 6}
    joined = files[0].source.join(files[1].source)
    with pytest.raises(ValueError, match="different length.*split by='file'"):
        WindowDataset([files[0], joined], 10).split("time")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("time", (0.9, 0.2)), "at most 1 together"),
        (("time", (0.5, 0.0)), "above 0"),
        (("time", ()), "above 0"),
        (("night", (0.5,)), "by is 'night'"),
        (("file", (0.5, 0.5)), "1 files cannot be dealt out to 2 parts"),
        (("time", (0.95, 0.05)), "no place for a window"),
    ],
)
def test_splits_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        WindowDataset(np.zeros((1, 100)), 10).split(*arguments)
    with pytest.raises(ValueError, match="gap must be 0 samples or more"):
        WindowDataset(np.zeros((1, 100)), 10).split(gap=-1)
