"""Channel maps against plain NumPy indexing of a grid."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.channel_map import ChannelMap, CoordinateChannelMap, common_sites


@st.composite
def maps(draw: st.DrawFn) -> ChannelMap:
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    sites = draw(st.permutations(range(rows * cols)))
    n = draw(st.integers(1, rows * cols))
    return ChannelMap(sites[:n], (rows, cols), col_major=draw(st.booleans()), pitch=0.5)


@given(maps())
def test_flat_numbers_and_sites_agree_with_numpy(chan_map: ChannelMap) -> None:
    order = "F" if chan_map.col_major else "C"
    rows, cols = np.unravel_index(list(chan_map), chan_map.geometry, order=order)
    got_rows, got_cols = chan_map.to_mat()
    assert got_rows.dtype == np.int64
    np.testing.assert_array_equal(got_rows, rows)
    np.testing.assert_array_equal(got_cols, cols)
    np.testing.assert_array_equal(chan_map.flat, list(chan_map))
    assert chan_map[0] == next(iter(chan_map))
    rebuilt = ChannelMap.from_index(
        np.stack([rows, cols], axis=1),
        chan_map.geometry,
        col_major=chan_map.col_major,
        pitch=chan_map.pitch,
    )
    assert rebuilt == chan_map


@given(maps())
def test_lookup_and_rlookup_are_inverse(chan_map: ChannelMap) -> None:
    channels = np.arange(len(chan_map))
    rows, cols = chan_map.rlookup(channels)
    np.testing.assert_array_equal(chan_map.lookup(rows, cols), channels)
    row, col = chan_map.rlookup(-1)
    assert isinstance(row, int)
    assert chan_map.lookup(row, col) == len(chan_map) - 1


@given(maps())
def test_embed_and_as_channels_are_inverse(chan_map: ChannelMap) -> None:
    n = len(chan_map)
    data = np.arange(2 * n * 3, dtype=np.float32).reshape(2, n, 3)
    grid = chan_map.embed(data, axis=1)
    assert grid.shape == (2, *chan_map.geometry, 3)
    assert grid.dtype == np.float32
    assert np.isnan(grid).sum() == 6 * (chan_map.geometry[0] * chan_map.geometry[1] - n)
    np.testing.assert_array_equal(chan_map.as_channels(grid, axis=1), data)
    np.testing.assert_array_equal(chan_map.as_channels(grid, axis=-3), data)


@given(maps(), st.data())
def test_subset_by_mask_and_by_position(chan_map: ChannelMap, data: st.DataObject) -> None:
    n = len(chan_map)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    np.testing.assert_array_equal(chan_map.subset(mask).flat, chan_map.flat[mask])
    order = data.draw(st.permutations(range(n)))
    np.testing.assert_array_equal(chan_map.subset(order).flat, chan_map.flat[order])
    assert chan_map[::-1] == chan_map.subset(np.arange(n)[::-1])


def test_orders_keep_the_sites() -> None:
    chan_map = ChannelMap([0, 1, 5], (2, 3))
    by_row = chan_map.as_row_major()
    assert list(chan_map) == [0, 1, 5]
    assert list(by_row) == [0, 3, 5]
    assert by_row.as_col_major() == chan_map
    assert by_row != chan_map


def test_from_mask_follows_the_flat_order() -> None:
    mask = np.array([[True, False, True], [True, True, False]])
    assert list(zip(*ChannelMap.from_mask(mask).to_mat(), strict=True)) == [
        (0, 0),
        (1, 0),
        (1, 1),
        (0, 2),
    ]
    by_row = ChannelMap.from_mask(mask, col_major=False)
    assert list(by_row) == [0, 2, 3, 4]
    np.testing.assert_array_equal(by_row.site_mask, mask)


def test_flipping_the_pads_mirrors_columns() -> None:
    chan_map = ChannelMap.from_index([(0, 0), (1, 2)], (2, 3))
    flipped = chan_map.flip_pads()
    assert flipped.to_mat()[1].tolist() == [2, 0]
    assert not flipped.pads_up
    assert flipped.flip_pads() == chan_map


def test_site_combinations_measure_millimetres() -> None:
    pairs = ChannelMap.from_index(
        [(0, 0), (0, 3), (4, 0)], (5, 4), pitch=(0.5, 1)
    ).site_combinations
    assert pairs.first.tolist() == [0, 0, 1]
    assert pairs.second.tolist() == [1, 2, 2]
    np.testing.assert_allclose(pairs.distance, [3, 2, np.hypot(3, 2)])
    np.testing.assert_allclose(pairs.dx, [3, 0, -3])
    np.testing.assert_allclose(pairs.dy, [0, 2, 2])


def test_common_sites_of_maps_that_are_ordered_differently() -> None:
    first = ChannelMap([4, 0, 2, 5], (2, 3))
    second = ChannelMap([2, 1, 4], (2, 3))
    a, b = common_sites([first, second])
    assert first.subset(a) == second.subset(b)
    assert list(first.subset(a)) == [4, 2]
    with pytest.raises(ValueError, match="different electrode arrays"):
        common_sites([first, ChannelMap([0], (3, 3))])
    with pytest.raises(ValueError, match="at least one"):
        common_sites([])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ChannelMap([6], (2, 3)), IndexError, r"0\.\.5 .*\[6\]"),
        (lambda: ChannelMap([-1], (2, 3)), IndexError, r"\[-1\]"),
        (lambda: ChannelMap([0.5], (2, 3)), ValueError, "integers"),
        (lambda: ChannelMap([[0]], (2, 3)), ValueError, "one dimension"),
        (lambda: ChannelMap([0], (0, 3)), ValueError, "both positive"),
        (lambda: ChannelMap([0], (2, 3), pitch=0), ValueError, "pitch"),
        (lambda: ChannelMap.from_index([(2, 0)], (2, 3)), IndexError, r"2 x 3.*\[\[2, 0\]\]"),
        (lambda: ChannelMap.from_index([(1, 1, 1)], (2, 3)), ValueError, "pairs"),
        (lambda: ChannelMap.from_mask([True]), ValueError, "two dimensions"),
        (lambda: ChannelMap([0, 1], (2, 3)).subset([True]), ValueError, "for 2 channels"),
        (lambda: ChannelMap([0, 1], (2, 3)).subset([2]), IndexError, "no channels"),
        (lambda: ChannelMap([0, 1], (2, 3)).lookup(1, 2), IndexError, r"site \(1, 2\)"),
        (lambda: ChannelMap([0, 1], (2, 3)).rlookup(2), IndexError, "2"),
        (lambda: ChannelMap([0, 1], (2, 3)).embed(np.zeros(3)), ValueError, "one per channel"),
        (lambda: ChannelMap([0], (2, 3)).as_channels(np.zeros((3, 2))), ValueError, "geometry"),
        (lambda: ChannelMap([0, 1], (2, 3)).image([1.0]), ValueError, "one value per channel"),
    ],
)
def test_bad_input(make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_image_draws_one_square_per_site_and_hatches_the_rest() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    chan_map = ChannelMap([0, 1, 5], (2, 3))
    figure, bar = chan_map.image([1, 2, 3])
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    assert shown.shape == (2, 3)
    assert float(shown[1, 2]) == 3
    assert len(axes.patches) == 3
    assert bar is not None
    figure2, none = chan_map.image(cbar=False, ax=axes)
    assert figure2 is figure
    assert none is None
    plt.close(figure)


def test_free_coordinates() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    rows, cols = np.array([0, 0, 1.5, 1.5]), np.array([0, 2.5, 0, 2.5])
    chan_map = CoordinateChannelMap(rows, cols, pitch=2)
    assert len(chan_map) == 4
    assert chan_map.lookup(1.5, 2.5) == 3
    assert chan_map.rlookup(1) == (0.0, 2.5)
    np.testing.assert_allclose(chan_map.positions()[3], [5, 3])
    assert chan_map.site_combinations.distance.max() == pytest.approx(np.hypot(5, 3))
    assert chan_map.subset([True, False, True, True]).rlookup(1) == (1.5, 0.0)
    grid = chan_map.embed(chan_map.positions()[:, 0])
    assert grid.shape == chan_map.geometry
    np.testing.assert_allclose(grid[0], np.linspace(0, 5, grid.shape[1]))
    figure, bar = chan_map.image()
    assert bar is not None
    plt.close(figure)
    assert chan_map.flip_pads().flip_pads() == chan_map
    with pytest.raises(TypeError, match="no grid"):
        chan_map.as_channels(grid)
    with pytest.raises(TypeError, match="no grid"):
        _ = chan_map.site_mask
    with pytest.raises(ValueError, match="at least 3"):
        chan_map.subset([0]).embed([1])
    with pytest.raises(ValueError, match="finite"):
        CoordinateChannelMap([np.nan], [0])
    with pytest.raises(ValueError, match="one row and one column"):
        CoordinateChannelMap([0, 1], [0])


def test_maps_pickle_and_read_well() -> None:
    chan_map = ChannelMap([0, 1, 5], (2, 3), pitch=0.4)
    assert pickle.loads(pickle.dumps(chan_map)) == chan_map
    assert repr(chan_map) == "ChannelMap(3 channels on 2 x 3, column-major)"
    assert repr(CoordinateChannelMap([0], [0])) == "CoordinateChannelMap(1 channels)"
