"""The main job, step by step: each step says what it does, what came out and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ecogsource._machine import peak_memory
from ecogsource.cli.text import duration, indented, say
from ecogsource.errors import MemoryBlowOutError, MissingDependencyError
from ecogsource.memory import format_bytes
from ecogsource.params import OVERRIDE, load_params
from ecogsource.view import channel_deviation

__all__ = ["Tour", "Trip", "describe_source"]

T = TypeVar("T")

QUIET = 0.2
"""A channel that varies less than this part of the median channel counts as dead."""
READ_AT_MOST = 2_000_000_000
"""Bytes that the reduction reads: a demonstration should end within a minute."""


class Tour:
    """Counts and times the steps."""

    def __init__(self) -> None:
        self.number = 0

    def step(self, title: str, code: str, work: Callable[[], T], tell: Callable[[T], str]) -> T:
        """Do `work` and say so.

        Parameters
        ----------
        title : str
            What happens.
        code : str
            What one would type.
        work : callable
            Does it.
        tell : callable
            Puts what came out into words.

        Returns
        -------
        object
            What `work` returned.
        """
        self.number += 1
        started = perf_counter()
        result = work()
        took = duration(perf_counter() - started)
        say(f"{self.number:2d}. {title:<72} {took:>10}")
        say(*(f"      >>> {line}" for line in code.splitlines()))
        say(*indented(tell(result), 6), "")
        return result


@dataclass
class Trip:
    """What the main job is done on.

    Parameters
    ----------
    source : source
        Channels x time.
    title : str
        What it is.
    borders : sequence of int
        Samples where a file ends and the next begins.
    sites : ndarray, shape (channels, 2), int, optional
        Row and column of each channel's electrode.
    events : ndarray, shape (events,), int, optional
        Samples of the stimuli.
    has_gaps : bool
        Whether NaN stands where nothing was recorded.
    parts : sequence of sources
        What was joined, for comparison.
    """

    source: Any
    title: str
    borders: Sequence[int] = ()
    sites: NDArray[np.int64] | None = None
    events: NDArray[np.int64] | None = field(default=None, repr=False)
    has_gaps: bool = False
    parts: Sequence[Any] = ()

    def run(self, tour: Tour, picture: Path) -> None:
        """Reduce, mask, slice and draw the source; the picture goes to the path `picture`."""
        self._slice(tour, self._mask(tour))
        self._refuse(tour)
        self._draw(tour, picture)
        cache = format_bytes(load_params().chunk_cache)
        say(
            f"Peak memory of the whole process: {format_bytes(peak_memory())}. Decoded chunks are "
            f"kept up to {cache} (the parameter chunk_cache).",
            "",
        )

    def _mask(self, tour: Tour) -> NDArray[np.bool_]:
        """Mask dead channels; return which are alive, shape (channels,)."""
        source = self.source
        deviation = self._deviation(tour)
        alive = ~(deviation < QUIET * np.median(deviation))
        dead = np.flatnonzero(~alive).tolist()
        if not dead:
            say(f"    No channel varies less than {QUIET:.0%} of the median: none is masked.", "")
            return alive

        def mask() -> None:
            source.set_channel_mask(alive)

        tour.step(
            f"Mask the channels that vary less than {QUIET:.0%} of the median",
            f"mask = deviation >= {QUIET} * np.median(deviation)\nsource.set_channel_mask(mask)",
            mask,
            lambda _: f"channels {dead} are out: {source.shape[0]} of {len(alive)} left",
        )
        if self.sites is not None:
            self.sites = self.sites[alive]
        return alive

    def _deviation(self, tour: Tour) -> NDArray[np.float64]:
        source = self.source
        n_samples = source.shape[1]
        sample_bytes = source.shape[0] * source.dtype.itemsize
        length = min(n_samples, READ_AT_MOST // sample_bytes)

        def tell(deviation: NDArray[np.float64]) -> str:
            units = (source.units or "").replace("uV", "µV")
            text = f"{deviation.min():.4g} to {deviation.max():.4g} {units}".rstrip()
            read = f"{format_bytes(length * sample_bytes)} read in blocks"
            return f"{text}, median {np.median(deviation):.4g}; {read}"

        if length == n_samples and not self.has_gaps:
            return tour.step(
                "Reduce: how much each channel varies, over all samples",
                "deviation = source.std(axis=1)",
                lambda: np.asarray(source.std(axis=1), dtype=np.float64),
                tell,
            )
        part = "what was recorded" if length == n_samples else f"the first {length:,} samples"
        return tour.step(
            f"Reduce: how much each channel varies, over {part}",
            f"deviation = view.channel_deviation(source, stop={length})",
            lambda: channel_deviation(source, stop=length),
            tell,
        )

    def _slice(self, tour: Tour, alive: NDArray[np.bool_]) -> None:
        source = self.source
        n_samples = source.shape[1]
        at = self.borders[0] if len(self.borders) else n_samples // 2
        half = min(2000, at, n_samples - at)
        where = "across the border of two files" if len(self.borders) else "in the middle"
        across = tour.step(
            f"Slice with NumPy syntax, {where}",
            f"source[:, {at - half}:{at + half}]",
            lambda: source[:, at - half : at + half],
            lambda x: f"{type(x).__name__} of shape {x.shape}, {x.dtype}, {format_bytes(x.nbytes)}",
        )
        if len(self.parts) > 1 and half:
            ends = self.parts[0][alive, -half:], self.parts[1][alive, :half]
            same = np.array_equal(across, np.concatenate(ends, axis=1), equal_nan=True)
            which = "the end of the first file and the beginning of the second"
            say(f"    The same as {which}: {'yes' if same else 'NO'}.", "")
        last = source.shape[0] - 1
        rows = [last, 0, last // 2]
        tour.step(
            "Any index that NumPy takes: a list of channels, time backwards",
            f"source[{rows}, ::-{max(n_samples // 5, 1)}]",
            lambda: source[rows, :: -max(n_samples // 5, 1)],
            lambda x: np.array2string(x, precision=1, suppress_small=True),
        )

    def _refuse(self, tour: Tour) -> None:
        source = self.source
        limit = max(source.shape[0] * source.dtype.itemsize, 1) * (source.shape[1] // 2)

        def ask() -> str:
            with OVERRIDE.set(memory_limit=max(limit, 1)):
                try:
                    source[:, :]
                except MemoryBlowOutError as error:
                    return str(error)
            return "it was read after all: the source is small"

        tour.step(
            f"Ask for more than a memory limit, here of {format_bytes(limit)}",
            "source[:, :]",
            ask,
            lambda message: message,
        )

    def _draw(self, tour: Tour, picture: Path) -> None:
        from ecogsource import view

        def draw() -> str:
            try:
                page = view.overview(
                    self.source,
                    sites=self.sites,
                    events=self.events,
                    borders=self.borders,
                    title=self.title,
                )
            except MissingDependencyError as error:
                return f"no picture: {error}"
            picture.parent.mkdir(parents=True, exist_ok=True)
            page.savefig(picture)
            return f"wrote {picture}"

        tour.step(
            "Draw it: traces, the grid, the spectrum",
            f"view.overview(source).savefig({picture.name!r})",
            draw,
            lambda text: text,
        )


def describe_source(source: Any) -> str:
    """Return in a few words what a source is."""
    n_channels, n_samples = source.shape
    many = "" if n_channels == 1 else "s"
    text = f"{n_channels:,} channel{many} x {n_samples:,} samples of {source.dtype}"
    if source.fs:
        text += f", {source.shape[1] / source.fs:,.1f} s at {source.fs:g} Hz"
    return text
