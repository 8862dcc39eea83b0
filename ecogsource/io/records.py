"""Reading channels that lie in blocks inside equal records.

EDF and BDF records, Intan data blocks, legacy Open Ephys records and Blackrock packets all have the
shape ``records x channels x samples`` with constant strides, so that a stretch of time is one
strided view of the mapped file. It is copied to its place tile by tile, transposed, cast and
scaled while it is in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.copying import copy_into
from ecogsource.buffers.storage.grid import bounds
from ecogsource.buffers.storage.handles import POOL, Handle
from ecogsource.buffers.storage.loops import LostPagesError
from ecogsource.buffers.storage.signature import signature_of
from ecogsource.buffers.storage.threads import run as run_threads
from ecogsource.errors import CorruptDataError, FormatError
from ecogsource.indexing import Selection, as_slice, simplify
from ecogsource.params import OVERRIDE, load_params

from .layouts import RecordLayout

__all__ = ["RecordBuffer"]

# Numbers decoded, scaled or gathered at a time: 1 MB as float32, which the cache of a core holds.
TILE = 1 << 18
_ALL = slice(None)


class RecordBuffer(Buffer):
    """Channels x samples of a file of records.

    Parameters
    ----------
    layout : RecordLayout
        Where the numbers are.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``; arrays as (channels, 1).
    precision : {'single', 'double'}, optional
        Floating point type of scaled values, instead of the `floating_point` parameter.

    Raises
    ------
    DataPathError
        If there is no such file.
    CorruptDataError
        If the file is shorter than the layout.
    """

    def __init__(
        self, layout: RecordLayout, units_scale: Any = None, *, precision: str | None = None
    ) -> None:
        self._precision = precision
        super().__init__(
            layout.shape, layout.dtype, units_scale=units_scale, filename=layout.filename
        )
        if layout.packed24 and layout.data_start < 1:
            raise FormatError("24-bit numbers need at least one byte before the first record")
        self.layout = layout
        self._run = simplify(np.asarray(layout.channel_offsets, dtype=np.int64))
        self._signature = signature_of(layout.filename)
        end = layout.data_start + layout.n_records * layout.record_bytes
        if self._signature.size < end:
            raise CorruptDataError(
                f"{layout.n_records} records of {layout.record_bytes} bytes end at byte {end}, "
                f"the file has {self._signature.size} bytes",
                layout.filename,
                self._signature.size,
            )

    def _set_scale(self, units_scale: Any) -> None:
        if self._precision is None:
            super()._set_scale(units_scale)
        else:
            with OVERRIDE.set(floating_point=self._precision):
                super()._set_scale(units_scale)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.layout, self.units_scale, self._precision)

    def close(self) -> None:
        """Let go of the file; it is opened again when it is read again."""
        POOL.forget(self.layout.filename)

    def _temporary_bytes(self, selection: Selection) -> int:
        plain = isinstance(selection.selectors[1], range) and not self.layout.packed24
        return 0 if plain else 2 * TILE * self.map_dtype.itemsize * load_params().workers

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, times = selection.selectors
        if isinstance(times, int):
            out, times = out[..., None], range(times, times + 1)
        if isinstance(channels, int):
            out, channels = out[None], range(channels, channels + 1)
        affine = Affine.of(self._scale, Selection((channels, times), out.shape))
        handle = POOL.acquire(self.layout.filename, self._signature)
        try:
            handle.check(self._signature)
            self._fetch(handle, times)
            for first, run in self._runs(channels):
                if len(run) == len(out):
                    self._read_run(handle, run, times, out, affine)
                    break
                where = slice(first, first + len(run))
                part = None if affine is None else affine.at((where, _ALL))
                self._read_run(handle, run, times, out[where], part)
            handle.touched(out.size * self.layout.stride)
        except LostPagesError as error:
            raise handle.lost(self._signature) from error
        finally:
            POOL.release(handle)

    def _fetch(self, handle: Handle, times: range | np.ndarray) -> None:
        """Have the system bring in the records that hold some samples."""
        low, high = bounds(times)
        layout = self.layout
        first = layout.data_start + low // layout.per_record * layout.record_bytes
        end = layout.data_start + ((high - 1) // layout.per_record + 1) * layout.record_bytes
        handle.fetch(first, end - 1, lambda: [(first, end - first)])

    def _read_run(
        self,
        handle: Handle,
        run: range,
        times: range | np.ndarray,
        out: np.ndarray,
        affine: Affine | None,
    ) -> None:
        """Read channels whose byte offsets are an arithmetic progression."""
        layout = self.layout
        if isinstance(times, range) and times.step < 0:
            times, out = times[::-1], out[:, ::-1]
            if affine is not None:
                affine = affine.at((_ALL, slice(None, None, -1)))
        step = times.step if isinstance(times, range) and len(times) > 1 else 1
        if isinstance(times, range) and step > 1 and layout.per_record % step == 0:
            # Every step-th number of a record: the same layout, more thinly sampled.
            shift = times.start % step * layout.stride
            run = range(run.start + shift, run.stop + shift, run.step)
            layout = replace(
                layout, per_record=layout.per_record // step, stride=layout.stride * step
            )
            times = range(times.start // step, times.start // step + len(times))
        view = _view(handle, layout, run)
        if isinstance(times, range) and (times.step == 1 or len(times) == 1):
            self._copy_stretch(view, times, out, affine)
        else:
            self._gather(view, times, out, affine)

    def _copy_stretch(
        self, view: np.ndarray, times: range, out: np.ndarray, affine: Affine | None
    ) -> None:
        """Copy a stretch: the end of a record, whole records, the start of a record."""
        per_record, begin = view.shape[2], times.start
        for start, stop in _whole_records(begin, begin + len(times), per_record):
            first, within = divmod(start, per_record)
            where = slice(start - begin, stop - begin)
            target, part = out, affine
            if stop - start < len(times):
                target = out[:, where]
                part = None if affine is None else affine.at((_ALL, where))
            if stop - start <= per_record:
                self._place(target, view[first, :, within : within + stop - start], part)
            else:
                count = (stop - start) // per_record
                self._copy_records(view[first : first + count], target, part)

    def _copy_records(self, records: np.ndarray, out: np.ndarray, affine: Affine | None) -> None:
        """Copy whole records, some at a time, in threads where there are many."""
        source = records.transpose(1, 0, 2)
        target = out.reshape(source.shape)
        if affine is not None:
            affine = _split_time(affine, source.shape)
        channels, count, length = source.shape
        step = max(1, TILE // (channels * length))

        def copy(start: int) -> None:
            tile = slice(start, start + step)
            part = None if affine is None else affine.at((_ALL, tile, _ALL))
            self._place(target[:, tile], source[:, tile], part)

        run_threads(copy, range(0, count, step), out.nbytes)

    def _place(self, target: np.ndarray, source: np.ndarray, affine: Affine | None) -> None:
        """Copy, cast and scale what the cache of a core holds."""
        if self.layout.packed24:
            stored = np.empty(source.shape, source.dtype)
            copy_into(stored, source)
            source = np.right_shift(stored, 8, out=stored)
        copy_into(target, source, affine)

    def _runs(self, channels: range | np.ndarray) -> Iterator[tuple[int, range]]:
        """Cut chosen channels into runs of equal distance: position of the first, byte offsets."""
        offsets = self._run
        if isinstance(offsets, range) and isinstance(channels, range):
            return iter(((0, offsets[as_slice(channels)]),))
        return _cut_runs(np.asarray(offsets)[np.asarray(channels)].tolist())

    def _gather(
        self, view: np.ndarray, times: range | np.ndarray, out: np.ndarray, affine: Affine | None
    ) -> None:
        """Copy samples in any order."""
        step = max(1, TILE // view.shape[1])
        for start in range(0, len(times), step):
            where = slice(start, start + step)
            positions = np.asarray(times[where], dtype=np.int64)
            records, within = np.divmod(positions, view.shape[2])
            source = view[records, :, within].T
            if self.layout.packed24:
                source = source >> 8
            copy_into(out[:, where], source, affine and affine.at((slice(None), where)))


def _reopen(layout: RecordLayout, units_scale: Any, precision: str | None) -> RecordBuffer:
    return RecordBuffer(layout, units_scale, precision=precision)


def _view(handle: Handle, layout: RecordLayout, run: range) -> np.ndarray:
    """Records x channels x numbers of the mapped file, as a strided view."""
    # 24-bit numbers are read as 32 bits that start one byte early; shifting drops that byte.
    start = layout.data_start + run.start - (1 if layout.packed24 else 0)
    return np.ndarray(
        (layout.n_records, len(run), layout.per_record),
        layout.dtype,
        handle.map(),
        start,
        (layout.record_bytes, run.step, layout.stride),
    )


def _cut_runs(chosen: list[int]) -> Iterator[tuple[int, range]]:
    """Cut a list of byte offsets into arithmetic progressions."""
    first = 0
    while first < len(chosen):
        stop = first + 1
        step = chosen[stop] - chosen[first] if stop < len(chosen) else 1
        while stop < len(chosen) and step and chosen[stop] - chosen[stop - 1] == step:
            stop += 1
        step = step or 1
        yield first, range(chosen[first], chosen[first] + step * (stop - first), step)
        first = stop


def _whole_records(start: int, stop: int, per_record: int) -> Iterator[tuple[int, int]]:
    """Cut a stretch where its first and last whole records begin and end."""
    body = -(-start // per_record) * per_record
    tail = stop // per_record * per_record
    edges = [start, body, tail, stop] if body < tail else [start, *[body] * (body < stop), stop]
    return ((low, high) for low, high in pairwise(edges) if low < high)


def _split_time(affine: Affine, shape: tuple[int, ...]) -> Affine:
    """Give the scale of whole records the axes channels, records, numbers."""

    def split(value: np.ndarray | None) -> np.ndarray | None:
        if value is None or value.ndim == 0:
            return value
        if value.shape[1] == 1:
            return value[:, :, None]
        return value.reshape(value.shape[0], *shape[1:])

    return Affine(split(affine.offset), split(affine.factor), affine.dtype)
