"""Windows of equal length from many recordings: random or one after the other, one or many."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ecogsource.buffers.storage.threads import run
from ecogsource.memory import check_allocation
from ecogsource.params import OVERRIDE, load_params
from ecogsource.windows import options
from ecogsource.windows import split as splitting
from ecogsource.windows.advice import announce
from ecogsource.windows.datafile import storable
from ecogsource.windows.draws import BLOCK, mixed_order, raw_words, spread_words
from ecogsource.windows.parts import choose_channels, find_parts, set_units
from ecogsource.windows.starts import StartTable, Stretches, event_stretches, valid_starts

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Window", "WindowDataset"]

MASKS = ("exclude", "fill", "ignore")
STRATA = ("file", "session", "event")
# Plans of drawn windows that are kept: 16 bytes for each of a million windows.
_KEPT_BLOCKS = 1024
_RUNS_PER_WORKER = 4


class Window(NamedTuple):
    """Where a window lies.

    Attributes
    ----------
    source : int
        Number of the source in :attr:`WindowDataset.sources`.
    start, stop : int
        Its samples, half-open.
    event : int or None
        Number of the event it was cut around, in the list given for its source.
    """

    source: int
    start: int
    stop: int
    event: int | None


class WindowDataset:
    """Windows of equal length from any mixture of files, sources, recordings and sessions.

    Without a `stride`, windows are drawn at random, every possible start of all sources together
    being as likely as any other. Window `i` of an epoch is a function of (`seed`, epoch, `i`)
    alone: it is the same whoever reads it, in which order, in however many processes. With a
    `stride`, windows follow each other through every valid stretch.

    Nothing is read when a dataset is made but what opening its sources reads. It pickles as its
    sources do: as names of files, which are opened where they are used.

    Parameters
    ----------
    sources : object, or sequence or mapping of them
        Sources, `DataFile` s, recordings, datasets, buffers or arrays (channels x time), paths of
        files that :func:`ecogsource.open_recording` or `DataFile` opens, or names of sessions,
        ``'group/session'``, for all their recordings. A mapping names the sessions itself:
        ``{"monday": [...], "tuesday": [...]}``. A recording with gaps gives one source per
        stretch between them.
    length : int
        Samples of a window.
    channels : 'common', int, slice, list of int or str, or mask, optional
        Which of the active channels; strings are names. ``'common'``: those whose names are
        active in all sources. By default all of them.
    mask : {'exclude', 'fill', 'ignore'}
        Whether windows keep off bad samples, or may hold them, overwritten with `mask_value` or as
        they are.
    stride : int, optional
        Take one start in so many of every valid stretch, in order. By default windows are random.
    n_windows : int, optional
        Number of random windows in an epoch; by default as many as would fit without overlap, or
        as there are events.
    seed : int
        Of the random windows, from 0 to 2**64 - 1.
    by : {'file', 'session', 'event'}, optional
        Draw by strata: first a file (one of the `sources` given), a session or an event, then a
        window in it. By default all starts are alike, so that a file has windows in proportion to
        its valid samples.
    weights : sequence or mapping, optional
        Relative share of every file, session (by name) or event (in the order of `around`); by
        default all are equal.
    stratify : bool
        Give the strata their shares in every stretch of windows, not only on the average.
    around : str, ndarray or sequence of ndarray, optional
        Samples of events, one array per source (or None), or the name of an attribute of the
        sources that holds them, such as ``'pos_edge'``. Windows are then cut around events only;
        those that do not fit, or are masked, are left out.
    offset : int or range
        Start of a window relative to its event, in samples, negative for before it; of a range
        (step 1), every offset is possible.
    masks : sequence of ndarray, optional
        Bad samples of each source: booleans, True for bad, or None. A DataFile's own mask holds
        too.
    mask_value : float
        What ``mask='fill'`` writes, in the units of the result.
    mask_pad_t : float
        Samples up to this many seconds from a bad one count as bad too.
    transform : callable, optional
        Called with every window that is read; what it returns is given out.
    dtype : dtype_like, optional
        Type of the values; by default one that holds those of all sources.
    units : str, optional
        Convert to these units, such as ``'uV'``, from those of each source.

    Attributes
    ----------
    sources : tuple of ElectrodeDataSource
        One per stretch of continuous data.
    length : int
        Samples of a window.
    shape : (int, int)
        Channels and samples of a window.
    dtype : numpy.dtype
        Type of the values, before `transform`.
    fs : float or None
        Samples per second, in Hz.
    units : str or None
        Unit of the values.
    epoch : int
        Which epoch's random windows are given; see :meth:`set_epoch`.

    Raises
    ------
    JoinError
        If sources differ in rate, channels or units.
    FormatError
        If something is not data, or a mask does not fit.
    ValueError
        If a parameter makes no sense, or there is no place for a single window.

    Examples
    --------
    >>> windows = WindowDataset([np.zeros((4, 1000)), np.ones((4, 3000))], length=50, seed=1)
    >>> len(windows), windows[0].shape, windows.batch(range(8)).shape
    (80, (4, 50), (8, 4, 50))
    """

    def __init__(
        self,
        sources: Any,
        length: int,
        channels: Any = None,
        mask: str = "exclude",
        stride: int | None = None,
        *,
        n_windows: int | None = None,
        seed: int = 0,
        by: str | None = None,
        weights: Sequence[float] | Mapping[str, float] | None = None,
        stratify: bool = False,
        around: Any = None,
        offset: int | range = 0,
        masks: Sequence[ArrayLike | None] | None = None,
        mask_value: float = 0.0,
        mask_pad_t: float = 0.0,
        transform: Callable[[np.ndarray], Any] | None = None,
        dtype: DTypeLike | None = None,
        units: str | None = None,
    ) -> None:
        self.length = options.positive(length, "length")
        self.seed, self.epoch = options.word(seed, "seed"), 0
        self.mask = options.one_of(mask, MASKS, "mask")
        self._stride = None if stride is None else options.positive(stride, "stride")
        self._by = None if by is None else options.one_of(by, STRATA, "by")
        self._stratify, self._weights = stratify, weights
        self._wanted = None if n_windows is None else options.positive(n_windows, "n_windows")
        parts, given = find_parts(sources, masks, mask_pad_t)
        parts, self.units = set_units(choose_channels(parts, channels), units)
        self._parts = parts
        self._events = None if around is None else options.events_of(around, parts, given)
        self._offsets = options.offsets_of(offset)
        self._mask_value, self.transform = mask_value, transform
        self.sources = tuple(part.source for part in parts)
        self.fs = next((s.fs for s in self.sources if s.fs is not None), None)
        self.shape = (parts[0].n_channels, self.length)
        self.dtype = options.common_type(parts, dtype)
        self._check_options()
        self._lay_out([[(0, part.n_samples)] for part in parts])

    def _check_options(self) -> None:
        if self._stride is not None and (self._by or self._wanted or self._stratify):
            raise ValueError(
                "by, n_windows and stratify are for random windows; with stride= all windows are "
                "taken, each once"
            )
        if (self._weights is not None or self._stratify) and self._by is None:
            raise ValueError("weights and stratify need by='file', 'session' or 'event'")
        if self._by == "event" and self._events is None:
            raise ValueError("by='event' needs events: give around=")
        if self.mask == "fill":
            storable(self._mask_value, self.dtype)

    # -- the possible starts -------------------------------------------------------------------

    def _lay_out(self, bounds: splitting.Bounds) -> None:
        """Find all possible starts within bounds: a list of (start, stop) for each source."""
        self._bounds = bounds
        self._plans: dict[tuple[int, int], tuple[NDArray[np.int64], ...]] = {}
        pieces, room = [], 0
        for number, part in enumerate(self._parts):
            bad = part.bad if self.mask == "exclude" else part.bad.within(0, 0)
            for start, stop in bounds[number]:
                valid = valid_starts(bad, start, stop, self.length)
                room += int(((valid.stops - valid.starts - 1) // self.length + 1).sum())
                if self._events is None:
                    pieces.append(Stretches.of(number, valid))
                else:
                    events = self._events[number]
                    pieces.append(event_stretches(number, events, self._offsets, valid))
        stretches = Stretches.joined(pieces)
        strata = options.strata_of(self._by, self._weights, stretches, self._parts, self._events)
        self._table = StartTable(stretches, self._stride or 1, strata)
        if self._table.total == 0:
            raise ValueError(
                f"there is no place for a window of {self.length} samples in {len(self._parts)} "
                f"sources of up to {max(part.n_samples for part in self._parts)} samples"
                + (", masked samples excluded" if self.mask == "exclude" else "")
                + ("" if self._events is None else ", around events")
            )
        self._room = room if self._events is None else len(stretches.part)
        self._count = self._wanted or self._room
        if self._stride is not None:
            self._count = self._table.total

    def __len__(self) -> int:
        return self._count

    @property
    def n_starts(self) -> int:
        """Number of different windows that can come."""
        return self._table.total

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch: other random windows, or another order of batches.

        Parameters
        ----------
        epoch : int
            From 0 to 2**64 - 1.
        """
        self.epoch = options.word(epoch, "epoch")

    def _where(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Say where windows lie: source, start, event."""
        if self._stride is not None:
            return self._table.at(indices)
        result = tuple(np.empty(len(indices), dtype=np.int64) for _ in range(3))
        blocks, places = np.divmod(indices, BLOCK)
        for block in np.unique(blocks).tolist():
            mine = blocks == block
            for column, plan in zip(result, self._plan(block), strict=True):
                column[mine] = plan[places[mine]]
        return result

    def _plan(self, block: int) -> tuple[NDArray[np.int64], ...]:
        """Draw a block of windows, or remember it."""
        key = self.epoch, block
        plan = self._plans.get(key)
        if plan is None:
            strata, positions = raw_words(self.seed, self.epoch, block)
            if self._stratify:
                numbers = np.arange(block * BLOCK, (block + 1) * BLOCK)
                strata = spread_words(self.seed, self.epoch, numbers)
            plan = self._table.at(self._table.draw(strata, positions))
            if len(self._plans) >= _KEPT_BLOCKS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def locate(self, index: int) -> Window:
        """Say where a window lies, without reading it.

        Parameters
        ----------
        index : int
            Number of the window.

        Returns
        -------
        Window
            Source, samples and event.
        """
        part, start, event = (
            int(c[0]) for c in self._where(options.numbers_of([index], self._count))
        )
        return Window(part, start, start + self.length, None if event < 0 else event)

    # -- reading -------------------------------------------------------------------------------

    def __getitem__(self, index: int) -> Any:
        if not -self._count <= (number := operator.index(index)) < self._count:
            raise IndexError(f"window {index} of {self._count}")
        number %= self._count
        if self._stride is None:
            block, place = divmod(number, BLOCK)
            parts, starts, _ = self._plan(block)
        else:
            place = 0
            parts, starts, _ = self._table.at(np.array([number]))
        window = np.empty(self.shape, self.dtype)
        self._read(int(parts[place]), int(starts[place]), window)
        return window if self.transform is None else self.transform(window)

    def _read(self, number: int, start: int, out: np.ndarray) -> None:
        part = self._parts[number]
        part.read(start, out)
        if self.mask == "fill" and len(part.bad.starts):
            part.bad.fill(out, start, self._mask_value)

    def batch(
        self, indices: ArrayLike, out: np.ndarray | None = None, *, workers: int | None = None
    ) -> Any:
        """Read many windows at once: in the order of the files, with all threads.

        Parameters
        ----------
        indices : array_like of int, shape (n,)
            Numbers of the windows, in any order, also repeated.
        out : ndarray, shape (n, channels, samples), optional
            Where they go, such as pinned memory; of a type that :attr:`dtype` casts to.
        workers : int, optional
            Number of threads; by default the parameter ``workers``.

        Returns
        -------
        ndarray, shape (n, channels, samples)
            The windows, in the order of `indices`; with a `transform`, what it made of each,
            stacked.

        Raises
        ------
        IndexError
            If there is no such window.
        MemoryBlowOutError
            If the batch is larger than the memory limit.
        ValueError
            If `out` has another shape.
        """
        numbers = options.numbers_of(indices, self._count)
        shape = (len(numbers), *self.shape)
        if out is None:
            nbytes = math.prod(shape) * self.dtype.itemsize
            check_allocation(nbytes, shape=shape, dtype=self.dtype, what="batch")
            out = np.empty(shape, self.dtype)
        elif out.shape != shape:
            raise ValueError(f"out has shape {out.shape}, the batch has {shape}")
        parts, starts, _ = self._where(numbers)
        order = np.lexsort((starts, parts))
        places = np.column_stack([parts[order], starts[order], order]).tolist()
        announce(((self._parts[part], start) for part, start, _ in places), self.length)
        with nullcontext() if workers is None else OVERRIDE.set(workers=workers):
            self._read_places(places, out)
        if self.transform is None:
            return out
        if not len(out):
            raise ValueError("no windows are asked for, and what the transform gives is not known")
        return np.stack([np.asarray(self.transform(window)) for window in out])

    def _read_places(self, places: list[list[int]], out: np.ndarray) -> None:
        """Read windows, given as source, start and place in `out`, in several threads."""
        share = -(-len(places) // (load_params().workers * _RUNS_PER_WORKER))

        def work(first: int) -> None:
            for part, start, place in places[first : first + share]:
                self._read(part, start, out[place])

        run(work, range(0, len(places), max(1, share)), out.nbytes)

    def __iter__(self) -> Iterator[Any]:
        for number in range(self._count):
            yield self[number]

    def batches(
        self,
        size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        shard: tuple[int, int] = (0, 1),
        workers: int | None = None,
    ) -> Iterator[Any]:
        """Walk over the windows of this epoch in batches.

        Parameters
        ----------
        size : int
            Windows in a batch.
        shuffle : bool
            Take them in a random order, another one in each epoch. Random windows need no
            shuffling.
        drop_last : bool
            Leave out the last batch if it is smaller.
        shard : (int, int)
            ``(k, n)``: only batches k, k + n, k + 2 n, ..., for the k-th of n readers.
        workers : int, optional
            Threads that read; by default the parameter ``workers``.

        Yields
        ------
        ndarray, shape (size, channels, samples)
            As :meth:`batch`. Batch `k` of an epoch is the same for any number of readers.
        """
        plan = self.batch_indices(size, shuffle=shuffle, drop_last=drop_last, shard=shard)
        for numbers in plan:
            yield self.batch(numbers, workers=workers)

    def batch_indices(
        self,
        size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        shard: tuple[int, int] = (0, 1),
    ) -> Iterator[NDArray[np.int64]]:
        """Plan the batches of this epoch; parameters as in :meth:`batches`.

        Yields
        ------
        ndarray, shape (size,), int64
            Numbers of the windows of a batch.
        """
        size, (first, step) = options.positive(size, "size"), options.shard_of(shard)
        order = mixed_order(self.seed, self.epoch, self._count) if shuffle else None
        stop = self._count - self._count % size if drop_last else self._count
        for start in range(first * size, stop, step * size):
            numbers = np.arange(start, min(stop, start + size))
            yield numbers if order is None else order[numbers]

    # -- everyday life -------------------------------------------------------------------------

    def split(
        self, by: str = "time", fractions: Any = (0.8, 0.2), *, gap: int = 0
    ) -> tuple[Self, ...]:
        """Split into datasets that share no sample, such as for training and testing.

        Parameters
        ----------
        by : {'time', 'file', 'session'}
            Cut every source in time, in order; or deal out whole files or sessions at random (by
            the seed), so that each part has its share of the valid starts as nearly as they allow.
            Sources that share a file stay together.
        fractions : sequence of float, or mapping of str to float
            Share of each part; at most 1 together.
        gap : int
            Samples left out between parts that are neighbours in time, because what is close in
            time is alike.

        Returns
        -------
        tuple of WindowDataset
            One per fraction.

        Raises
        ------
        ValueError
            If a part would be without a window, or sources overlap in a way that cannot be cut.
        """
        shares = splitting.shares_of(fractions)
        bounds = splitting.plan(by, self._parts, self._bounds, shares, gap=gap, seed=self.seed)
        return tuple(self._within(part) for part in bounds)

    def _within(self, bounds: splitting.Bounds) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._lay_out(bounds)
        if self._wanted is not None:
            # Each part gets its share of the windows that were asked for.
            twin._count = twin._wanted = max(1, round(self._wanted * twin._room / self._room))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plans": {}}

    def __repr__(self) -> str:
        kind = "random" if self._stride is None else f"stride {self._stride}"
        return (
            f"<WindowDataset {self._count} windows of {self.shape[0]} channels x {self.length} "
            f"samples, {kind} out of {self._table.total}, mask={self.mask!r}, "
            f"from {len(self._parts)} sources>"
        )
