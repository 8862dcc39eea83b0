"""Every start is possible, none that is not is, and each is as likely as it should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.windows import WindowDataset
from ecogsource.windows.draws import BLOCK, mixed_order, raw_words, scaled, spread_words
from ecogsource.windows.masks import mask_runs
from ecogsource.windows.starts import event_stretches, valid_starts
from tests.windows.helper import all_starts, mask_of

masks = st.lists(
    st.lists(st.booleans(), min_size=1, max_size=40).map(np.array), min_size=1, max_size=4
)


RAW = [[2533144363980168765, 4708083050069965526], [4154714089138655030, 15439169602403406943]]
ORDER = [0, 2, 3, 5, 1, 4]


def dataset(masks, length, **options):
    sources = [np.zeros((2, len(mask))) for mask in masks]
    return WindowDataset(sources, length, masks=masks, **options)


def places(windows):
    return [windows.locate(i)[:2] for i in range(len(windows))]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 2**62)), min_size=1))
def test_words_are_scaled_exactly(pairs):
    words = np.array([word for word, _ in pairs], dtype=np.uint64)
    counts = np.array([count for _, count in pairs])
    got = scaled(words, counts)
    assert got.dtype == np.int64
    assert got.tolist() == [word * count >> 64 for word, count in pairs]


def test_words_are_the_same_in_every_version_of_numpy():
    """Philox4x64 with ten rounds: the raw stream, which NumPy keeps."""
    assert raw_words(1, 2, 3)[:, :2].tolist() == RAW
    assert raw_words(1, 2, 3).shape == (2, BLOCK)
    assert mixed_order(1, 0, 6).tolist() == ORDER


@given(masks, st.integers(1, 8))
def test_enumeration_gives_every_valid_start_once_in_order(masks, length):
    expected = [(n, s) for n, mask in enumerate(masks) for s in all_starts(mask, length)]
    if not expected:
        with pytest.raises(ValueError, match=f"no place for a window of {length} samples"):
            dataset(masks, length, stride=1)
        return
    windows = dataset(masks, length, stride=1)
    assert len(windows) == windows.n_starts == len(expected)
    assert [place[:2] for place in places(windows)] == expected


@given(masks, st.integers(1, 6), st.integers(1, 9))
def test_a_stride_starts_anew_in_every_valid_stretch(masks, length, stride):
    expected = []
    for n, mask in enumerate(masks):
        for start, stop in zip(*valid_starts(mask_runs(mask), 0, len(mask), length), strict=True):
            expected += [(n, s) for s in range(start, stop, stride)]
    if expected:
        assert places(dataset(masks, length, stride=stride)) == expected


@given(masks, st.integers(1, 6), st.integers(0, 2**64 - 1))
def test_random_windows_are_valid_starts(masks, length, seed):
    valid = {(n, s) for n, mask in enumerate(masks) for s in all_starts(mask, length)}
    if valid:
        windows = dataset(masks, length, n_windows=60, seed=seed)
        assert windows.n_starts == len(valid)
        assert set(places(windows)) <= valid


def test_every_start_of_all_files_together_is_as_likely_as_any_other():
    """Files of 1000 and of 60 samples, half masked: chi-squared over all starts."""
    masks = [mask_of(1000, (100, 500), (505, 600)), mask_of(60, (20, 30)), mask_of(7)]
    windows = dataset(masks, 8, n_windows=200_000, seed=5)
    valid = [(n, s) for n, mask in enumerate(masks) for s in all_starts(mask, 8)]
    part, start, _ = windows._where(np.arange(len(windows)))
    found, counts = np.unique(part * 10_000 + start, return_counts=True)
    assert found.tolist() == [n * 10_000 + s for n, s in valid]
    expected = len(windows) / len(valid)
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    freedom = len(valid) - 1
    assert abs(chi_squared - freedom) < 5 * np.sqrt(2 * freedom)


@given(masks, st.integers(1, 8), st.integers(1, 5))
def test_equal_shares_of_all_words_lead_to_every_start(masks, length, times):
    """Words spread evenly over their whole range: every valid start comes exactly as often."""
    valid = [(n, s) for n, mask in enumerate(masks) for s in all_starts(mask, length)]
    if not valid:
        return
    table = dataset(masks, length)._table
    count = times * len(valid)
    words = np.array([-(-k * 2**64 // count) for k in range(count)], dtype=np.uint64)
    part, start, _ = table.at(table.draw(words[::-1], words))
    expected = [place for place in valid for _ in range(times)]
    assert list(zip(part.tolist(), start.tolist(), strict=True)) == expected


def test_the_number_of_windows_that_fit_is_the_default():
    windows = dataset([mask_of(1000, (100, 500)), mask_of(35)], 10)
    assert len(windows) == 10 + 50 + 3


@pytest.mark.parametrize("stratify", [False, True])
def test_files_by_weight(stratify):
    masks = [mask_of(5000), mask_of(100), mask_of(100), mask_of(100, (0, 100))]
    shares = {}
    for name, weights in (("equal", None), ("given", [1, 0, 3, 5])):
        windows = dataset(
            masks, 10, by="file", weights=weights, stratify=stratify, n_windows=8000, seed=1
        )
        part, _, _ = windows._where(np.arange(8000))
        shares[name] = np.bincount(part, minlength=4) / 8000
    tolerance = 0.002 if stratify else 0.03
    assert np.allclose(shares["equal"], [1 / 3, 1 / 3, 1 / 3, 0], atol=tolerance)
    assert np.allclose(shares["given"], [1 / 4, 0, 3 / 4, 0], atol=tolerance)


def test_strata_have_their_shares_in_every_batch():
    windows = dataset([mask_of(900), mask_of(100)], 10, by="file", stratify=True, n_windows=6400)
    part, _, _ = windows._where(np.arange(6400))
    per_batch = part.reshape(100, 64).sum(axis=1)
    assert per_batch.min() >= 30
    assert per_batch.max() <= 34
    words = spread_words(0, 0, np.arange(1000)) / 2.0**64
    assert abs(words.mean() - 0.5) < 0.01


def test_sessions_by_name_and_by_folder(tmp_path):
    quiet, loud = [np.zeros((2, 4000))] * 2, [np.ones((2, 100))]
    windows = WindowDataset(
        {"quiet": quiet, "loud": loud}, 10, by="session", n_windows=3000, stratify=True
    )
    part, _, _ = windows._where(np.arange(3000))
    assert abs((part == 2).mean() - 0.5) < 0.01
    weighted = WindowDataset(
        {"quiet": quiet, "loud": loud}, 10, by="session", weights={"loud": 1.0}, n_windows=50
    )
    assert {weighted.locate(i).source for i in range(50)} == {2}
    with pytest.raises(ValueError, match=r"weights for \['lout'\]; there are only \['quiet'"):
        WindowDataset({"quiet": quiet}, 10, by="session", weights={"lout": 1})


# -- events ------------------------------------------------------------------------------------


@given(
    st.lists(st.booleans(), min_size=1, max_size=40).map(np.array),
    st.lists(st.integers(-5, 45), max_size=6),
    st.integers(-6, 6),
    st.integers(1, 5),
    st.integers(1, 6),
)
def test_events_give_all_their_valid_starts(mask, events, low, width, length):
    valid = set(all_starts(mask, length))
    got = event_stretches(
        3,
        np.array(events, dtype=np.int64),
        range(low, low + width),
        valid_starts(mask_runs(mask), 0, len(mask), length),
    )
    found = [
        (event, start)
        for event, first, count in zip(got.event, got.first, got.counts, strict=True)
        for start in range(first, first + count)
    ]
    expected = [
        (number, event + offset)
        for number, event in enumerate(events)
        for offset in range(low, low + width)
        if event + offset in valid
    ]
    assert found == expected
    assert set(got.part.tolist()) <= {3}


def test_windows_around_events_in_order():
    events = [np.array([3, 50, 99]), None, [20]]
    sources = [np.zeros((1, 100))] * 3
    windows = WindowDataset(sources, 10, around=events, offset=-5, stride=1)
    assert [windows.locate(i) for i in range(len(windows))] == [(0, 45, 55, 1), (2, 15, 25, 0)]


def test_random_windows_around_events():
    sources = [np.zeros((1, 1000))] * 2
    events = [np.arange(100, 900, 100), np.array([500])]
    windows = WindowDataset(sources, 10, around=events, offset=range(-3, 4), n_windows=500)
    seen = {windows.locate(i) for i in range(500)}
    assert len(seen) == 9 * 7
    for source, start, _, event in seen:
        assert -3 <= start - events[source][event] <= 3
    assert len(WindowDataset(sources, 10, around=events)) == 9


def test_events_by_weight():
    events = np.array([0, 10, 95, 50])
    windows = WindowDataset(
        np.zeros((1, 100)),
        10,
        around=events,
        by="event",
        weights=[1, 0, 7, 2],
        offset=range(5),
        n_windows=3000,
    )
    found = [windows.locate(i).event for i in range(3000)]
    # The third event lies too near the end for a window: its share goes to the others.
    assert set(found) == {0, 3}
    assert abs(found.count(0) / 3000 - 1 / 3) < 0.03


def test_events_named_by_an_attribute():
    class Experiment:
        def __init__(self, data, pos_edge):
            from ecogsource.datasource import PlainArraySource

            self.data, self.pos_edge = PlainArraySource(data), pos_edge

    things = [
        Experiment(np.zeros((2, 100)), np.array([10, 20])),
        Experiment(np.ones((2, 50)), [30]),
    ]
    windows = WindowDataset(things, 5, around="pos_edge", stride=1)
    assert places(windows) == [(0, 10), (0, 20), (1, 30)]
    with pytest.raises(ValueError, match="has no attribute 'onsets'"):
        WindowDataset(things, 5, around="onsets")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"around": [[1], [2]]}, "around holds 2 lists of events for 1 sources"),
        ({"around": [[0.5]]}, "events are lists of sample numbers, got float64"),
        ({"around": [[1]], "offset": range(0, 9, 2)}, "an int or a range of step 1"),
        ({"around": [[1]], "offset": range(0)}, "an int or a range of step 1"),
        ({"around": [[99]]}, "no place for a window of 10 samples.*around events"),
        ({"by": "event"}, "needs events: give around="),
        ({"by": "animal"}, "by is 'animal', expected one of 'file', 'session', 'event'"),
        ({"weights": [1]}, "need by="),
        ({"stratify": True}, "need by="),
        ({"by": "file", "weights": [1, 2]}, "weights are 1 numbers"),
        ({"by": "file", "weights": [-1]}, "weights are 1 numbers, 0 or more and not all 0"),
        ({"stride": 2, "by": "file"}, "are for random windows"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"n_windows": 0}, "n_windows must be at least 1"),
        ({"seed": -1}, "seed must be from 0"),
        ({"mask": "drop"}, "mask is 'drop', expected one of 'exclude', 'fill', 'ignore'"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        WindowDataset(np.zeros((1, 100)), 10, **options)


def test_a_length_in_seconds_is_not_guessed():
    with pytest.raises(TypeError, match=r"length is a whole number, got 1.0; .*round\(seconds"):
        WindowDataset(np.zeros((1, 100)), 1.0)
