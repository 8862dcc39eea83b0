"""The methods of sources that prefetch, copy, filter and downsample; each calls its own room.

Here are only the signatures: what is behind them is imported when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from ecogsource.channel_map import ChannelMap
    from ecogsource.datasource.advise import LayoutAdvice
    from ecogsource.datasource.base import ElectrodeDataSource
    from ecogsource.datasource.mapped import MappedSource
    from ecogsource.datasource.plain import PlainArraySource
    from ecogsource.datasource.prefetch import SliceCache

__all__ = ["ProcessingMixin"]

Aligned = Literal["auto", "antialias", "aggregate", "edges", "decimate"]


class ProcessingMixin:
    """Background reading, mirrors, filters and downsampling of a source."""

    # -- background reading ----------------------------------------------------------------------

    def cache_slice(
        self,
        index: Any,
        *,
        backend: Literal["thread", "process"] = "thread",
        timeout: float | None = None,
    ) -> None:
        """Start reading a slice in the background and return at once.

        Parameters
        ----------
        index : object
            Any index that NumPy accepts.
        backend : {'thread', 'process'}
            Who reads. A process, which fills shared memory, serves data that only h5py can read;
            it is started once.
        timeout : float, optional
            Seconds that a reading process may take for one slice (default 120).

        Raises
        ------
        IndexError
            As NumPy does.
        MemoryBlowOutError
            If the slices that wait to be fetched exceed the memory limit together.
        ValueError
            If slices are waiting from another backend.
        """
        from ecogsource.datasource.prefetch import SliceCache

        cache = _slice_cache(self)
        if cache is not None and cache.backend != backend:
            if len(cache):
                raise ValueError(
                    f"{len(cache)} slices are being read by the {cache.backend!r} backend; fetch "
                    "them with get_cached_slice() first"
                )
            cache.close()
            cache = None
        if cache is None:
            cache = SliceCache(_as_source(self), backend, timeout)
            self.__dict__["_slice_cache"] = cache
        cache.submit(index)

    def get_cached_slice(self) -> NDArray[Any]:
        """Wait for the oldest slice asked for with `cache_slice` and return it.

        Returns
        -------
        ndarray
            The slice.

        Raises
        ------
        LookupError
            If no slice was asked for.
        WorkerError
            If a reading process died or took too long.
        Exception
            What the reader raised, with its traceback.
        """
        cache = _slice_cache(self)
        if cache is None:
            raise LookupError("no slice is being read: call cache_slice(index) first")
        return cache.get()

    # -- copies ----------------------------------------------------------------------------------

    def mirror(
        self,
        new_rate_ratio: int | None = None,
        writeable: bool = True,  # noqa: FBT001, FBT002 - ecogdata's signature
        mapped: bool = True,  # noqa: FBT001, FBT002
        channel_compatible: bool = False,  # noqa: FBT001, FBT002
        filename: str | os.PathLike[str] | None = None,
        copy: str = "all",
        new_sources: Mapping[str, Any] | None = None,
        *,
        chunks: tuple[int, int] | str | None = None,
        compression: str | int | None = None,
        aligned: Aligned = "auto",
        shared: bool = False,
        resume: bool = True,
        progress: bool | None = None,
    ) -> ElectrodeDataSource:
        """Copy this source, with other properties.

        Parameters
        ----------
        new_rate_ratio : int, optional
            Downsample by this integer on the way, anti-aliased.
        writeable : bool
            Whether the new source may be written. The checksums of a file that was opened for
            writing are dropped, as they would soon be wrong.
        mapped : bool
            Copy to a file; False: to memory, as a `PlainArraySource`.
        channel_compatible : bool
            Keep all channels of the file and the mask; False: only the active channels.
        filename : path-like, optional
            Where to put the copy; default a temporary file that disappears with this process. It
            appears when it is complete; an old file of that name stays until then.
        copy : {'all', 'electrode', 'aligned', ''}
            Which arrays to copy. All are made; those not copied are zero.
        new_sources : mapping, optional
            Arrays made already, by name, to be filled and used instead of new ones.
        chunks : (int, int) or {'time', 'channel', 'window'}, optional
            HDF5 chunks (channels, samples), or the pattern of access that `advise_layout` shall
            choose them for; default contiguous, or ``'time'`` with compression.
        compression : {'gzip'} or int, optional
            Deflate, with shuffled bytes; a number is the level.
        aligned : {'auto', 'antialias', 'aggregate', 'edges', 'decimate'}
            How aligned arrays are downsampled, see `downsample_to_file`.
        shared : bool
            With ``mapped=False``: use memory that other processes can attach to.
        resume : bool
            Go on with a named file where an interrupted mirror of the same source and options
            stopped.
        progress : bool, optional
            Show a progress bar; by default if it takes longer than two seconds.

        Returns
        -------
        MappedSource or PlainArraySource

        Raises
        ------
        ValueError
            Options that contradict each other.
        MemoryBlowOutError
            With ``mapped=False``, if the copy exceeds the memory limit.
        OSError
            With ``errno.ENOSPC`` if the disk is full; an old file is left as it was.
        """
        from ecogsource.datasource.mirror import MirrorOptions, mirror

        options = MirrorOptions(
            ratio=1 if new_rate_ratio is None else new_rate_ratio,
            writeable=writeable,
            mapped=mapped,
            channel_compatible=channel_compatible,
            copy=copy,
            chunks=chunks,
            compression=compression,
            aligned=aligned,
            shared=shared,
            resume=resume,
            progress=progress,
        )
        return mirror(_as_source(self), filename, options, new_sources)

    def to_map(self, filename: str | os.PathLike[str] | None = None) -> MappedSource:
        """Copy to a writeable file, temporary unless named.

        Parameters
        ----------
        filename : path-like, optional
            Where to put it.

        Returns
        -------
        MappedSource
        """
        return cast("MappedSource", self.mirror(filename=filename))

    def to_shared(self) -> PlainArraySource:
        """Copy to memory that is sent to other processes by name, not by value.

        Returns
        -------
        PlainArraySource

        Raises
        ------
        MemoryBlowOutError
            If the copy exceeds the memory limit.
        """
        return cast("PlainArraySource", self.mirror(mapped=False, shared=True))

    def advise_layout(
        self,
        access: Literal["time", "channel", "window"] = "time",
        *,
        compression: bool = False,
    ) -> LayoutAdvice:
        """Suggest HDF5 chunks for a copy of this source.

        Parameters
        ----------
        access : {'time', 'channel', 'window'}
            Mostly blocks of time over all channels, whole channels, or short windows of a few
            channels at random times.
        compression : bool
            Whether the copy will be compressed, which rules out contiguous storage.

        Returns
        -------
        LayoutAdvice
        """
        from ecogsource.datasource.advise import advise_layout

        source = _as_source(self)
        return advise_layout(
            source.shape, source.dtype.itemsize, access, fs=source.fs, compression=compression
        )

    # -- filters ---------------------------------------------------------------------------------

    def filter_array(
        self,
        ftype: str = "butterworth",
        inplace: bool = True,  # noqa: FBT001, FBT002 - ecogdata's signature
        out: str | os.PathLike[str] | ElectrodeDataSource | None = None,
        design_kwargs: Mapping[str, Any] | None = None,
        filt_kwargs: Mapping[str, Any] | None = None,
        *,
        progress: bool | None = None,
    ) -> ElectrodeDataSource:
        """Filter every active channel, the same as filtering the whole array at once.

        Parameters
        ----------
        ftype : {'butterworth', 'chebyshev2', 'elliptic', 'fir'}
            Family; ``'butter'``, ``'cheby2'`` and ``'ellip'`` are accepted.
        inplace : bool
            Overwrite this source. Not atomic: an interrupted call leaves a mixture. Ignored if
            `out` is given.
        out : path-like or source, optional
            A named file (appears when complete), or a writeable source of the same shape. With
            ``inplace=False`` and no `out`: a temporary file, or memory for data in memory.
        design_kwargs : mapping, optional
            For `ecogsource.filters.design_filter`: ``lo``, ``hi`` (Hz), ``order`` (or ``ord``),
            ``fs`` (or ``Fs``; default the source's), ``attenuation`` (or ``rstop``), ...
        filt_kwargs : mapping, optional
            ``filtfilt`` (True: forward and backward, no phase; False: forward, from rest) and
            ``padlen`` (edge extension of the former, default SciPy's).
        progress : bool, optional
            Show a progress bar; by default if it takes longer than two seconds.

        Returns
        -------
        source
            This source if it was overwritten, else the result.

        Raises
        ------
        ReadOnlyError
            If this source, or `out`, is not writeable.
        TypeError
            If the result would be stored as integers.
        ValueError
            Impossible design, or signal shorter than the edge extension.
        """
        from ecogsource.datasource.filtering import FilterJob, design_from_kwargs, filter_source

        source = _as_source(self)
        design = design_from_kwargs(ftype, source.fs, design_kwargs or {})
        job = FilterJob.of(design, filt_kwargs or {}, progress=progress)
        return filter_source(source, job, inplace=inplace, out=out)

    def notch_filter(
        self,
        Fs: float | None = None,  # noqa: N803 - ecogdata's name
        lines: float | Iterable[float] = 60.0,
        inplace: bool = True,  # noqa: FBT001, FBT002
        out: str | os.PathLike[str] | ElectrodeDataSource | None = None,
        *,
        nwid: float = 3.0,
        nmax: float | None = None,
        filtfilt: bool = True,
        progress: bool | None = None,
    ) -> ElectrodeDataSource:
        """Remove line noise.

        Parameters
        ----------
        Fs : float, optional
            Sampling rate, Hz; default the source's.
        lines : float or iterable of float
            One number: that frequency and its harmonics up to `nmax`. Several: exactly those. Hz.
        inplace, out, progress
            See `filter_array`.
        nwid : float
            Width of each notch, Hz.
        nmax : float, optional
            Highest harmonic, Hz; default all below the Nyquist frequency.
        filtfilt : bool
            Forward and backward (no phase), or forward only.

        Returns
        -------
        source
            This source if it was overwritten, else the result.

        Raises
        ------
        ReadOnlyError, TypeError, ValueError
            As for `filter_array`.
        """
        from ecogsource.datasource.filtering import FilterJob, filter_source, rate_of
        from ecogsource.filters import design_notch

        source = _as_source(self)
        design = design_notch(rate_of(Fs, source.fs), lines, width=nwid, nmax=nmax)
        job = FilterJob.of(design, {"filtfilt": filtfilt}, progress=progress)
        return filter_source(source, job, inplace=inplace, out=out)

    # -- rates -----------------------------------------------------------------------------------

    def batch_change_rate(
        self,
        new_rate_ratio: int,
        new_source: ElectrodeDataSource,
        antialias_aligned: bool = False,  # noqa: FBT001, FBT002 - ecogdata's signature
        aggregate_aligned: bool = False,  # noqa: FBT001, FBT002
        *,
        progress: bool | None = None,
    ) -> ElectrodeDataSource:
        """Downsample into an existing source, for example ``mirror(ratio, copy='')``.

        Parameters
        ----------
        new_rate_ratio : int
            Input samples per output sample.
        new_source : source
            Writeable, of as many channels and ``ceil(samples / ratio)`` samples.
        antialias_aligned : bool
            Treat aligned arrays like the signal.
        aggregate_aligned : bool
            Average aligned arrays over each group of samples. With neither: ``'auto'`` as in
            `downsample_to_file`.
        progress : bool, optional
            Show a progress bar; by default if it takes longer than two seconds.

        Returns
        -------
        source
            `new_source`.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        ReadOnlyError
            If `new_source` is not writeable.
        """
        from ecogsource.datasource.resample import change_rate

        aligned: Aligned = "auto"
        if antialias_aligned:
            aligned = "antialias"
        elif aggregate_aligned:
            aligned = "aggregate"
        change_rate(
            _as_source(self), new_rate_ratio, new_source, aligned=aligned, progress=progress
        )
        return new_source

    def downsample_and_load(
        self, new_rate_ratio: int, *, aligned: Aligned = "auto", progress: bool | None = None
    ) -> PlainArraySource:
        """Downsample into memory.

        Parameters
        ----------
        new_rate_ratio : int
            Input samples per output sample.
        aligned : {'auto', 'antialias', 'aggregate', 'edges', 'decimate'}
            See `downsample_to_file`.
        progress : bool, optional
            Show a progress bar; by default if it takes longer than two seconds.

        Returns
        -------
        PlainArraySource

        Raises
        ------
        MemoryBlowOutError
            If the result exceeds the memory limit.
        """
        loaded = self.mirror(new_rate_ratio, mapped=False, aligned=aligned, progress=progress)
        return cast("PlainArraySource", loaded)

    # -- references ------------------------------------------------------------------------------

    def car(self, *, center: Literal["mean", "median"] = "mean") -> MappedSource:
        """View this source re-referenced to the common average of its active channels.

        Parameters
        ----------
        center : {'mean', 'median'}
            What is subtracted at each instant.

        Returns
        -------
        MappedSource
            Computed when it is read; not writeable.
        """
        from ecogsource.datasource.rereference import common_average

        return common_average(_as_source(self), center)

    def local_ref(
        self, neighbours: ChannelMap | ArrayLike, *, radius: float | None = None
    ) -> MappedSource:
        """View this source with each channel less the mean of its neighbours.

        Parameters
        ----------
        neighbours : ChannelMap or array_like
            Electrode positions as a channel map or as coordinates of shape (channels, 2), used
            with `radius`; or, without it, a matrix (channels, channels) that is True where the
            column is a neighbour of the row.
        radius : float, optional
            Channels within this distance are neighbours, in the unit of the coordinates (of a
            channel map: that of its pitch).

        Returns
        -------
        MappedSource
            Computed when it is read; not writeable. A channel without neighbours is unchanged.

        Raises
        ------
        ValueError
            If the shapes do not fit the active channels.
        """
        from ecogsource.datasource.rereference import local_reference

        return local_reference(_as_source(self), neighbours, radius)


def _as_source(mixin: ProcessingMixin) -> ElectrodeDataSource:
    """Tell the type checker what the methods of this class are mixed into."""
    return cast("ElectrodeDataSource", mixin)


def _slice_cache(mixin: ProcessingMixin) -> SliceCache | None:
    """Return the slices that this process reads; what a parent process reads is not ours."""
    cache: SliceCache | None = mixin.__dict__.get("_slice_cache")
    return cache if cache is not None and cache.owner == os.getpid() else None
