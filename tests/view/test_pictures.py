"""Pictures: what is drawn where, and that any recording can be drawn."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecogsource import view
from ecogsource.datasource import MappedSource
from ecogsource.errors import MemoryBlowOutError, MissingDependencyError
from ecogsource.params import OVERRIDE
from tests.view.helper import ArraySource

N_SAMPLES = 3000
SITES = np.column_stack(np.divmod(np.arange(16), 4))


def noise(n_channels: int = 16, dtype: str = "f4") -> np.ndarray:
    rng = np.random.default_rng(0)
    return (100 * rng.standard_normal((n_channels, N_SAMPLES))).astype(dtype)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def saved(figure: Figure, folder: Path) -> bytes:
    figure.savefig(folder / "picture.png")
    return (folder / "picture.png").read_bytes()


def test_plot_draws_every_channel_against_seconds(tmp_path: Path) -> None:
    source = ArraySource(noise(), fs=500.0, units="uV", channel_names=[f"E{n}" for n in range(16)])
    figure = view.plot(source, 100, 600, title="a title")
    (axes,) = figure.axes
    assert axes.get_xlim() == (0.2, 1.2)
    assert [label.get_text() for label in axes.get_yticklabels()] == source.channel_names
    assert axes.get_xlabel() == "time (s)"
    assert axes.get_title("left") == "a title"
    assert any("µV" in text for text in texts(figure))
    assert saved(figure, tmp_path).startswith(b"\x89PNG")


def test_notebooks_know_how_to_show_a_picture() -> None:
    figure = view.plot(noise())
    assert figure._repr_png_().startswith(b"\x89PNG")
    twin = pickle.loads(pickle.dumps(figure))
    assert len(twin.axes) == 1


def test_channels_without_names_are_numbered_as_in_the_mask() -> None:
    mask = np.ones(16, bool)
    mask[[0, 5]] = False
    source = MappedSource(noise(), channel_mask=mask)
    (axes,) = view.plot(source, channels=[0, 4, 13]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "6", "15"]
    page = view.overview(source)
    bars = next(a for a in page.findobj(Axes) if a.get_xlabel() == "channel")
    assert [round(b.get_x() + b.get_width() / 2) for b in bars.patches] == [
        n for n in range(16) if mask[n]
    ]


def test_plot_counts_samples_without_a_rate() -> None:
    figure = view.plot(noise(), channels=[3, 1])
    (axes,) = figure.axes
    assert axes.get_xlabel() == "sample"
    assert axes.get_xlim() == (0, N_SAMPLES)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["3", "1"]


def test_plot_of_many_channels_draws_some_of_all() -> None:
    figure = view.plot(noise(200))
    labels = [int(label.get_text()) for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 32
    assert labels[0] == 0
    assert labels[-1] == 199
    assert labels == sorted(set(labels))


def test_plot_marks_events_and_borders() -> None:
    source = ArraySource(noise(), fs=1000.0)
    lines = view.plot(source, marks=[100, 200], borders=[1500]).axes[0].lines
    at = {line.get_xdata()[0] for line in lines if len(line.get_xdata()) == 2}
    assert {0.1, 0.2, 1.5} <= at


@pytest.mark.parametrize("dtype", ["int16", "uint8", ">f4", "float64"])
def test_plot_takes_any_numbers(dtype: str) -> None:
    assert isinstance(view.plot(np.abs(noise()).astype(dtype)), Figure)


def test_plot_of_a_constant_and_of_nan() -> None:
    assert isinstance(view.plot(np.ones((2, 50))), Figure)
    values = noise(3)
    values[1, 10:20] = np.nan
    assert isinstance(view.plot(values), Figure)


@pytest.mark.parametrize("span", [(-1, 5), (5, 5), (0, N_SAMPLES + 1), (N_SAMPLES, None)])
def test_plot_outside_the_recording_is_an_error(span: tuple[int, int | None]) -> None:
    with pytest.raises(IndexError, match=f"the recording has samples 0 to {N_SAMPLES}"):
        view.plot(noise(), *span)


def test_plot_of_channels_that_are_not_there_is_an_error() -> None:
    with pytest.raises(IndexError, match=r"cannot draw channels \[16, -17\]: there are 16"):
        view.plot(noise(), channels=[0, 16, -17])


def test_overview_shows_the_response_on_the_grid(tmp_path: Path) -> None:
    source = ArraySource(noise(), fs=1000.0, units="uV")
    events = np.arange(100, 2800, 300)
    figure = view.overview(source, sites=SITES, events=events, borders=[1500], title="a page")
    words = texts(figure)
    assert "a page" in words
    assert "Average response to 9 stimuli on the grid" in words
    assert any("where one file ends" in word for word in words)
    grids = [axes for axes in figure.axes if axes.images]
    assert len(grids) == 5
    assert all(axes.images[0].get_array().shape == (4, 4) for axes in grids)
    assert saved(figure, tmp_path).startswith(b"\x89PNG")


def test_overview_without_events_shows_how_channels_vary(tmp_path: Path) -> None:
    figure = view.overview(ArraySource(noise(), fs=1000.0), sites=SITES)
    assert "Standard deviation on the grid" in texts(figure)
    assert saved(figure, tmp_path).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("shape", "panel"),
    [
        ((1, 3000), "How often each value occurs"),
        ((2, 1), "How often each value occurs"),
        ((40, 3), "How much each channel varies"),
    ],
)
def test_overview_of_little(tmp_path: Path, shape: tuple[int, int], panel: str) -> None:
    figure = view.overview(noise(64)[: shape[0], : shape[1]])
    assert panel in texts(figure)
    assert saved(figure, tmp_path).startswith(b"\x89PNG")


def test_overview_where_no_event_fits_shows_how_channels_vary() -> None:
    source = ArraySource(noise(), fs=1000.0)
    figure = view.overview(source, sites=SITES, events=np.array([3, N_SAMPLES - 2]))
    assert "Standard deviation on the grid" in texts(figure)


def test_a_wild_channel_is_cut_off_and_does_not_flatten_the_others() -> None:
    values = noise(8)
    values[3] *= 1000
    figure = view.overview(ArraySource(values, fs=1000.0))
    traces = [line for line in figure.axes[0].lines if len(line.get_xdata()) == N_SAMPLES]
    colors = [line.get_color() for line in traces]
    assert len(traces) == 8
    assert colors.count(colors[3]) == 1
    room = np.ptp(figure.axes[0].get_yticks()) / 7
    assert np.ptp(traces[3].get_ydata()) <= 0.9 * room * 1.001
    assert room == pytest.approx(400, rel=0.1)
    assert figure.axes[1].get_yscale() == "log"


def test_evoked_map_has_a_frame_for_every_time(tmp_path: Path) -> None:
    source = ArraySource(noise(), fs=1000.0, units="uV")
    figure = view.evoked_map(source, SITES, np.array([50, 500, 900]), frames_ms=[0, 12.5, 120])
    assert [axes.get_title() for axes in figure.axes[:3]] == ["0 ms after", "12.5 ms", "120 ms"]
    assert "Average response to 3 stimuli on the grid" in texts(figure)
    assert saved(figure, tmp_path).startswith(b"\x89PNG")


def test_evoked_map_needs_whole_responses_a_rate_and_times_inside() -> None:
    source = ArraySource(noise(), fs=1000.0)
    with pytest.raises(ValueError, match="none of 1 responses lies within the recording of 3000"):
        view.evoked_map(source, SITES, np.array([2990]))
    with pytest.raises(ValueError, match="none of 1 responses .* at None Hz"):
        view.evoked_map(noise(), SITES, np.array([1000]))
    with pytest.raises(ValueError, match="times are between 0 and 120 ms"):
        view.evoked_map(source, SITES, np.array([1000]), frames_ms=[130])


def test_spectrum_is_drawn_on_logarithmic_axes(tmp_path: Path) -> None:
    figure = view.spectrum(ArraySource(noise(), fs=1000.0, units="uV"))
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_ylabel() == "µV² / Hz"
    assert saved(figure, tmp_path).startswith(b"\x89PNG")


@pytest.mark.parametrize("stop", [1200, N_SAMPLES])
@pytest.mark.parametrize("events", [None, np.array([100, 1100])])
def test_overview_of_a_recording_with_a_gap_of_nan(
    tmp_path: Path, stop: int, events: np.ndarray | None
) -> None:
    values = noise()
    values[:, 1000:stop] = np.nan
    values[3] = np.nan
    figure = view.overview(ArraySource(values, fs=500.0), sites=SITES, events=events)
    assert saved(figure, tmp_path).startswith(b"\x89PNG")


def test_pictures_stay_below_a_tight_memory_limit(tmp_path: Path) -> None:
    values = np.tile(noise(16), (1, 40))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = values
    source = MappedSource.from_hdf_sources(tmp_path / "a.h5", "data", fs=1000.0)
    with OVERRIDE.set(memory_limit=1_000_000):
        with pytest.raises(MemoryBlowOutError):
            source[:]
        assert saved(view.plot(source), tmp_path).startswith(b"\x89PNG")
        figure = view.overview(source, sites=SITES, events=np.arange(100, 90_000, 700))
        assert saved(figure, tmp_path).startswith(b"\x89PNG")
    source.close()


def test_overview_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"nothing to draw: the source has shape \(0, 10\)"):
        view.overview(np.zeros((0, 10)))


def test_pictures_leave_the_settings_of_matplotlib_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    view.plot(noise())
    assert dict(matplotlib.rcParams) == before


def test_a_missing_matplotlib_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .*ecogsource\[plot\]"):
        view.plot(noise())


def test_importing_the_room_loads_no_matplotlib() -> None:
    code = "import sys, ecogsource.view; raise SystemExit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
