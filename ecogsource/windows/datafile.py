"""One flat recording with its experiment file and masks, read by time."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ecogsource.buffers import FlatBuffer
from ecogsource.datasource import MappedSource
from ecogsource.errors import DataPathError, FormatError
from ecogsource.indexing import Selection
from ecogsource.memory import check_allocation
from ecogsource.windows.experiment import load_masks, parse_name, read_drive, typed_as
from ecogsource.windows.masks import grow_mask, mask_runs

__all__ = ["DataFile"]


class DataFile:
    """A flat file of one microdrive: ``<recording>.<drive>.<type>.dat``.

    Only the small files beside it are read here. Data are read by time with :meth:`read`, or by
    sample from :attr:`source`, which masks, joins and slices like every source.

    Parameters
    ----------
    data_file_path : path-like
        The data file.
    exp_file_path : path-like, optional
        The experiment file; by default ``<recording>.experiment.json`` beside the data.
    mask_file_path : path-like, optional
        The masks, ``.pkl`` or ``.npz``; by default ``<recording>.<drive>.<type>.mask.pkl`` or
        ``.mask.npz`` beside the data, if it is there. Pickles are read only if they hold nothing
        but plain NumPy arrays.
    srate : float, optional
        Samples per second, in Hz, where the type of the recording does not tell.
    dtype : dtype_like, optional
        Type of the stored numbers, where the type of the recording does not tell.
    order : {'samples', 'channels'}
        Whether the file holds sample after sample, which is how such files are specified (also
        ``'C'``), or channel after channel, as some downsampled ones were written (also ``'F'``).
        The file does not tell: neighbouring samples of a channel look unrelated if it is read in
        the wrong order.
    units : str, optional
        Unit of the values.

    Attributes
    ----------
    source : MappedSource
        The channels that are not masked x all samples.
    data_file_path, exp_file_path : str
        The files.
    mask_file_path : str or None
        The file of masks, if there is one.
    rec_id, microdrive_name, rec_type : str
        The parts of the name.
    srate : float
        Samples per second, in Hz.
    data_type : numpy.dtype
        Type of the stored numbers.
    data_mask : ndarray, shape (n_sample,), bool
        True for bad samples. Read-only.
    ch_idx : ndarray, shape (n_ch,), bool
        True for bad channels. Read-only.
    ch_labels : list of str
        Label of every electrode of this drive.
    ch_positions : ndarray, shape (n_ch, 2), float64
        Where the electrodes are: x and y in mm, NaN where not known.
    n_ch, n_sample : int
        Number of channels, bad ones included, and of samples.
    t_total : float
        Length in seconds.

    Raises
    ------
    DataPathError
        If the data file, the experiment file, or masks that were asked for are not there.
    FormatError
        If the name does not have its parts, the drive is not in the experiment file, rate or
        type of the recording are not known, or the masks do not fit or are not plain arrays.
    """

    def __init__(
        self,
        data_file_path: str | os.PathLike[str],
        exp_file_path: str | os.PathLike[str] | None = None,
        mask_file_path: str | os.PathLike[str] | None = None,
        *,
        srate: float | None = None,
        dtype: DTypeLike | None = None,
        order: str = "samples",
        units: str | None = None,
    ) -> None:
        path = Path(data_file_path).expanduser()
        name = parse_name(path)
        exp_path = path.with_name(f"{name.rec_id}.experiment.json")
        if exp_file_path is not None:
            exp_path = Path(exp_file_path).expanduser()
        mask_path = _find_masks(path, mask_file_path)
        drive = read_drive(exp_path, name.drive)
        self.rec_id, self.microdrive_name, self.rec_type = name
        self.srate, self.data_type = typed_as(name.rec_type, drive, srate=srate, dtype=dtype)
        self.data_file_path, self.exp_file_path = str(path), str(exp_path)
        self.mask_file_path = None if mask_path is None else str(mask_path)
        self.ch_labels = list(drive.labels)
        self.ch_positions = np.array(drive.positions, dtype=np.float64).reshape(-1, 2)
        self.n_ch = len(drive.labels)
        if self.n_ch == 0:
            raise FormatError(f"drive {name.drive!r} has no electrodes in {str(exp_path)!r}")
        buffer = FlatBuffer(path, self.data_type, (-1, self.n_ch), order=_flat_order(order))
        self.n_sample = buffer.shape[0]
        self.t_total = self.n_sample / self.srate
        self.data_mask, self.ch_idx = load_masks(mask_path, self.n_sample, self.n_ch)
        self._bad = mask_runs(self.data_mask if mask_path is not None else [])
        for mask in (self.data_mask, self.ch_idx):
            mask.flags.writeable = False
        self.source = MappedSource(
            buffer,
            transpose=True,
            channel_mask=~self.ch_idx,
            fs=self.srate,
            units=units,
            channel_names=self.ch_labels,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of channels that are not masked, and of samples."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the values that are read."""
        return self.source.dtype

    def __getitem__(self, index: Any) -> Any:
        return self.source[index]

    def __repr__(self) -> str:
        bad_samples, bad_channels = int(self.data_mask.sum()), int(self.ch_idx.sum())
        share = 100 * bad_samples / max(1, self.n_sample)
        return (
            f"<DataFile {self.data_file_path!r}\n"
            f"  {self.rec_type} of {self.microdrive_name}: {self.data_type.name}, "
            f"{self.srate:g} Hz\n"
            f"  samples: {self.n_sample} ({self.t_total:.2f} s, {share:.2f} % masked)\n"
            f"  channels: {self.n_ch} ({bad_channels} masked)>"
        )

    def read(
        self,
        t_start: float = 0,
        t_len: float | None = -1,
        ch_idx: Any = None,
        use_mask: bool = True,  # noqa: FBT001, FBT002 - the signature of the notebook
        mask_value: float = 0.0,
        mask_pad_t: float = 5,
    ) -> NDArray[Any]:
        """Read a piece of the recording.

        Times become samples by rounding to the nearest one, so that pieces of the same `t_len`
        all have the same number of samples.

        Parameters
        ----------
        t_start : float
            Where to start, in seconds from the beginning.
        t_len : float or None
            How much to read, in seconds; -1 or None for all to the end. What lies beyond the end
            is left out, as in slices.
        ch_idx : int, slice, list or mask, optional
            Which of all channels of the file, bad ones included; by default those that are not
            masked. ``slice(None)`` takes all of them.
        use_mask : bool
            Whether bad samples are overwritten.
        mask_value : float
            What bad samples are overwritten with; NaN is allowed for floating point data.
        mask_pad_t : float
            Samples up to this many seconds from a bad one count as bad too.

        Returns
        -------
        ndarray, shape (channels, samples)
            In the type of the file. A single channel given as an integer has no channel axis.

        Raises
        ------
        IndexError
            If there is no such channel.
        MemoryBlowOutError
            If the piece is larger than the memory limit.
        ValueError
            If times are negative, start lies beyond the end, or `mask_value` cannot be stored in
            the type of the file.
        """
        start, stop = self._samples(t_start, t_len)
        data: NDArray[Any]
        if ch_idx is None:
            data = self._read_good(start, stop)
        else:
            data = _all_channels(self.source).read((ch_idx, slice(start, stop)))
        if use_mask:
            pad = _whole(mask_pad_t, "mask_pad_t", self.srate)
            value = storable(mask_value, data.dtype)
            if len(self._bad.starts):
                self._bad.grown(pad, self.n_sample).fill(data, start, value)
        return data

    def _read_good(self, start: int, stop: int) -> NDArray[Any]:
        """Read what training reads over and over: no index is taken apart."""
        time = range(start, stop)
        channels = range(self.source.shape[0])
        shape, dtype = (len(channels), len(time)), self.source.dtype
        nbytes = shape[0] * shape[1] * dtype.itemsize
        check_allocation(nbytes, shape=shape, dtype=dtype)
        data = np.empty(shape, dtype)
        self.source.read_into(Selection((channels, time), shape), data)
        return data

    def _samples(self, t_start: float, t_len: float | None) -> tuple[int, int]:
        start = _whole(t_start, "t_start", self.srate)
        if start > self.n_sample:
            raise ValueError(
                f"t_start is {t_start:g} s, but {self.data_file_path!r} is only "
                f"{self.t_total:g} s long"
            )
        if t_len is None or t_len == -1:
            return start, self.n_sample
        return start, min(self.n_sample, start + _whole(t_len, "t_len", self.srate))

    @staticmethod
    def grow_bool_array(in_bool_array: ArrayLike, growth_size: float = 50.0) -> NDArray[np.bool_]:
        """Spread a mask to the neighbours of its True samples.

        Parameters
        ----------
        in_bool_array : array_like of bool, shape (n,)
            The mask.
        growth_size : float
            How far it spreads to either side, in samples.

        Returns
        -------
        ndarray, shape (n,), bool
            The larger mask.
        """
        return grow_mask(in_bool_array, round(growth_size))


def _flat_order(order: str) -> str:
    known = {"samples": "C", "C": "C", "channels": "F", "F": "F"}
    if order not in known:
        raise FormatError(f"order must be 'samples' or 'channels', got {order!r}")
    return known[order]


def _find_masks(path: Path, given: str | os.PathLike[str] | None) -> Path | None:
    if given is not None:
        chosen = Path(given).expanduser()
        if not chosen.is_file():
            raise DataPathError(f"no mask file {str(chosen)!r}")
        return chosen
    for suffix in (".mask.pkl", ".mask.npz"):
        beside = path.with_suffix(suffix)
        if beside.is_file():
            return beside
    return None


def _all_channels(source: MappedSource) -> MappedSource:
    if source.binary_channel_mask.all():
        return source
    return MappedSource(source.data_buffer, transpose=True)


def _whole(seconds: float, name: str, srate: float) -> int:
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name} is {seconds!r}; times are seconds, 0 or more")
    return round(seconds * srate)


def storable(value: float, dtype: np.dtype) -> Any:
    """Return a mask value in the type of the data, if it can be one."""
    if dtype.kind not in "iu":
        return value
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max or value != int(value):
        raise ValueError(
            f"mask_value {value!r} cannot be stored in {dtype.name} data; it takes a whole "
            f"number from {limits.min} to {limits.max}. Convert first, or read with use_mask=False"
        )
    return int(value)
