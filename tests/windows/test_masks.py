"""Runs of bad samples against the slow way, and growth against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from ecogsource.windows import grow_mask
from ecogsource.windows.masks import mask_runs
from ecogsource.windows.starts import valid_starts
from tests.windows.helper import all_starts

masks = st.lists(st.booleans(), max_size=40).map(lambda flags: np.array(flags, dtype=bool))


@given(masks)
def test_runs_are_where_the_mask_is_true(mask):
    runs = mask_runs(mask)
    again = np.zeros(len(mask), dtype=bool)
    for start, stop in zip(runs.starts, runs.stops, strict=True):
        assert start < stop
        again[start:stop] = True
    assert again.tolist() == mask.tolist()
    assert (runs.starts[1:] > runs.stops[:-1]).all()
    assert runs.starts.dtype == runs.stops.dtype == np.int64


@given(masks, st.integers(0, 12))
def test_growth_is_a_dilation(mask, growth):
    grown = grow_mask(mask, growth)
    assert grown.dtype == bool
    expected = binary_dilation(mask, np.ones(2 * growth + 1)) if len(mask) else mask
    assert grown.tolist() == expected.tolist()
    assert mask_runs(grown)[0].tolist() == mask_runs(mask).grown(growth, len(mask))[0].tolist()


def test_a_mask_does_not_shrink():
    with pytest.raises(ValueError, match="0 samples or more, got -1"):
        grow_mask([True], -1)


@given(masks, st.integers(0, 40), st.integers(0, 40))
def test_runs_within_and_between_are_those_of_the_slice(mask, a, b):
    start, stop = sorted((min(a, len(mask)), min(b, len(mask))))
    runs = mask_runs(mask)
    inside, outside = runs.within(start, stop), runs.between(start, stop)
    expected = mask_runs(mask[start:stop])
    assert [column.tolist() for column in inside] == [column.tolist() for column in expected]
    expected = mask_runs(~mask[start:stop])
    assert [(column - start).tolist() for column in outside] == [c.tolist() for c in expected]


@given(masks, st.integers(1, 9))
def test_valid_starts_are_all_and_only_those_without_a_bad_sample(mask, length):
    valid = valid_starts(mask_runs(mask), 0, len(mask), length)
    found = [s for a, b in zip(*valid, strict=True) for s in range(a, b)]
    assert found == all_starts(mask, length)


@given(masks, st.integers(0, 30), st.integers(1, 20))
def test_fill_overwrites_the_bad_samples_of_a_window(mask, start, length):
    window = np.ones((2, length), dtype=np.float32)
    mask_runs(mask).fill(window, start, np.nan)
    inside = np.zeros(length, dtype=bool)
    here = mask[start : start + length]
    inside[: len(here)] = here
    assert np.isnan(window).tolist() == [inside.tolist()] * 2
