"""Batch processing of large recordings, with YASS's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from ecogsource.batch.job import Job
from ecogsource.batch.plan import (
    Batch,
    channel_batches,
    select_channels,
    select_times,
    time_batches,
)
from ecogsource.batch.pools import count_workers
from ecogsource.batch.readers import RecordingsReader
from ecogsource.batch.running import collect, read_batches, write_file
from ecogsource.memory import parse_bytes

__all__ = ["BatchProcessor"]


class BatchProcessor:
    """Process a recording in batches that fit into memory.

    Parameters
    ----------
    path_to_recordings : path-like, source, buffer, recording or dataset
        As for :class:`RecordingsReader`.
    dtype : dtype_like, optional
        Type of the numbers of a binary file.
    n_channels : int, optional
        Channels of a binary file.
    data_order : {'channels', 'samples'}, optional
        Which values lie together.
    max_memory : int or str
        Most bytes of the data of one batch: a number, or such as ``'300MB'`` or ``'1.5GB'``. What
        a function allocates comes on top.
    buffer_size : int
        Observations to add on both sides of each batch of several channels; zeros beyond the
        ends of the recording.
    loader : {'memmap', 'array', 'python'}
        As for :class:`RecordingsReader`.
    show_progress_bar : bool
        Whether to show progress.
    data_format : {'wide', 'long'}, optional
        Older name of `data_order`.

    Attributes
    ----------
    reader : RecordingsReader
        What is read.

    Raises
    ------
    ValueError
        If the size of the file does not fit the arguments.
    """

    def __init__(
        self,
        path_to_recordings: Any,
        dtype: DTypeLike | None = None,
        n_channels: int | None = None,
        data_order: str | None = None,
        max_memory: int | str = "1GB",
        buffer_size: int = 0,
        loader: str = "memmap",
        show_progress_bar: bool = True,  # noqa: FBT001, FBT002 - YASS's signature
        *,
        data_format: str | None = None,
    ) -> None:
        self.reader = RecordingsReader(
            path_to_recordings,
            dtype,
            n_channels,
            data_order,
            loader,
            buffer_size,
            data_format=data_format,
        )
        self.max_memory = parse_bytes(max_memory)
        self.show_progress_bar = show_progress_bar

    # -- batches to loop over ------------------------------------------------------------------

    def multi_channel(
        self,
        from_time: int | None = None,
        to_time: int | None = None,
        channels: Any = "all",
        return_data: bool = True,  # noqa: FBT001, FBT002 - YASS's signature
    ) -> Iterator[Any]:
        """Generate batches of several channels.

        Parameters
        ----------
        from_time, to_time : int, optional
            Observations to begin and to end with.
        channels : 'all', int or sequence of int
            Which channels.
        return_data : bool
            Whether to read the data; if not, only absolute indices are generated.

        Yields
        ------
        data : numpy.ndarray
            Observations x channels, with the buffer.
        idx_local : tuple of slice
            ``data[idx_local]`` is without the buffer.
        idx : tuple
            Where that lies in the recording: observations, channels.
        """
        batches = self._time_batches(from_time, to_time, channels)
        if not return_data:
            yield from (batch.place for batch in batches)
            return
        job = Job(self.reader, len, {}, self.reader.buffer_size)
        for batch, data in read_batches(job, batches):
            yield data, job.local(batch), batch.place

    def single_channel(
        self,
        force_complete_channel_batch: bool = True,  # noqa: FBT001, FBT002 - YASS's signature
        from_time: int | None = None,
        to_time: int | None = None,
        channels: Any = "all",
    ) -> Iterator[Any]:
        """Generate batches of one channel.

        Parameters
        ----------
        force_complete_channel_batch : bool
            Whether each channel must come in one piece.
        from_time, to_time : int, optional
            Observations to begin and to end with.
        channels : 'all', int or sequence of int
            Which channels.

        Yields
        ------
        numpy.ndarray or (numpy.ndarray, int)
            One channel; without `force_complete_channel_batch` a piece of one, and its number.

        Raises
        ------
        ValueError
            If each channel must come in one piece and one does not fit `max_memory`.
        """
        batches = self._channel_batches(
            from_time, to_time, channels, complete=force_complete_channel_batch
        )
        job = Job(self.reader, len, {}, single=True)
        for batch, data in read_batches(job, batches):
            for channel, piece in zip(batch.channels, data.T, strict=True):
                yield piece if force_complete_channel_batch else (piece, int(channel))

    # -- functions over all batches ------------------------------------------------------------

    def multi_channel_apply(
        self,
        function: Callable[..., Any],
        mode: str,
        cleanup_function: Callable[..., Any] | None = None,
        output_path: Any = None,
        from_time: int | None = None,
        to_time: int | None = None,
        channels: Any = "all",
        if_file_exists: str = "overwrite",
        cast_dtype: DTypeLike | None = None,
        pass_batch_info: bool = False,  # noqa: FBT001, FBT002 - YASS's signature
        pass_batch_results: bool = False,  # noqa: FBT001, FBT002
        processes: int = 1,
        *,
        executor: Executor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Apply a function to batches of several channels.

        Parameters
        ----------
        function : callable
            Gets an array of observations x channels.
        mode : {'disk', 'memory'}
            Whether results go to a file or into a list.
        cleanup_function : callable, optional
            ``cleanup(result, idx_local, idx, buffer_size)`` is applied to each result.
        output_path : path-like, optional
            The file to write; needed with ``mode='disk'``.
        from_time, to_time : int, optional
            Observations to begin and to end with.
        channels : 'all', int or sequence of int
            Which channels.
        if_file_exists : {'overwrite', 'abort', 'skip'}
            What to do if the file exists. ``'skip'`` keeps it only if it is the complete result
            of the same work.
        cast_dtype : dtype_like, optional
            Type of the results.
        pass_batch_info : bool
            Pass the keyword arguments `idx_local` and `idx`.
        pass_batch_results : bool
            Pass the last result as `previous_batch` (None at first). In memory mode, and in one
            process.
        processes : int
            Worker processes.
        executor : concurrent.futures.Executor, optional
            Where to work instead: threads, processes, ``dask.distributed.Client.get_executor()``.
        **kwargs
            Passed to the function.

        Returns
        -------
        (pathlib.Path, dict)
            With ``mode='disk'``: the file, in ``'samples'`` order, and its ``dtype``,
            ``n_channels`` and ``data_order``, which also stand in the YAML file beside it.
        list
            With ``mode='memory'``: the results in order; only the last one with
            `pass_batch_results`.

        Raises
        ------
        BatchError
            If the function fails; the message names the batch.
        ValueError
            If arguments contradict each other, or the file exists and is not to be touched.
        """
        job = Job(
            self.reader,
            function,
            kwargs,
            self.reader.buffer_size,
            cleanup_function,
            cast_dtype,
            info=pass_batch_info,
        )
        batches = self._time_batches(from_time, to_time, channels)
        if pass_batch_results:
            if mode != "memory" or processes > 1 or executor is not None:
                raise ValueError(
                    "pass_batch_results hands each result to the next batch: it needs "
                    "mode='memory' and one process"
                )
            return self._chain(job, batches)
        return self._run(job, batches, mode, output_path, if_file_exists, processes, executor)

    def single_channel_apply(
        self,
        function: Callable[..., Any],
        mode: str,
        output_path: Any = None,
        force_complete_channel_batch: bool = True,  # noqa: FBT001, FBT002 - YASS's signature
        from_time: int | None = None,
        to_time: int | None = None,
        channels: Any = "all",
        if_file_exists: str = "overwrite",
        cast_dtype: DTypeLike | None = None,
        *,
        processes: int = 1,
        executor: Executor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Apply a function to batches of one channel.

        Parameters
        ----------
        function : callable
            Gets one channel, one-dimensional.
        mode : {'disk', 'memory'}
            Whether results go to a file or into a list.
        output_path : path-like, optional
            The file to write; needed with ``mode='disk'``.
        force_complete_channel_batch : bool
            Whether each channel must come in one piece.
        from_time, to_time : int, optional
            Observations to begin and to end with.
        channels : 'all', int or sequence of int
            Which channels.
        if_file_exists : {'overwrite', 'abort', 'skip'}
            As for :meth:`multi_channel_apply`.
        cast_dtype : dtype_like, optional
            Type of the results.
        processes : int
            Worker processes.
        executor : concurrent.futures.Executor, optional
            Where to work instead.
        **kwargs
            Passed to the function.

        Returns
        -------
        (pathlib.Path, dict)
            With ``mode='disk'``: the file, in ``'channels'`` order, and how to read it.
        list
            With ``mode='memory'``: the results in order.

        Raises
        ------
        BatchError
            If the function fails; the message names the batch.
        ValueError
            If each channel must come in one piece and one does not fit `max_memory`; if
            arguments contradict each other, or the file exists and is not to be touched.
        """
        job = Job(self.reader, function, kwargs, cast_dtype=cast_dtype, single=True)
        batches = self._channel_batches(
            from_time,
            to_time,
            channels,
            complete=force_complete_channel_batch,
            workers=count_workers(processes, executor),
        )
        return self._run(job, batches, mode, output_path, if_file_exists, processes, executor)

    def _run(
        self,
        job: Job,
        batches: list[Batch],
        mode: str,
        output_path: Any,
        if_file_exists: str,
        processes: int,
        executor: Executor | None,
    ) -> Any:
        if mode == "memory":
            return list(collect(job, batches, processes, executor, progress=self.show_progress_bar))
        if mode != "disk":
            raise ValueError(f"mode is 'disk' or 'memory', got {mode!r}")
        if output_path is None:
            raise ValueError("mode='disk' needs an output_path")
        return write_file(
            job,
            batches,
            Path(output_path),
            if_file_exists,
            processes,
            executor,
            progress=self.show_progress_bar,
        )

    def _chain(self, job: Job, batches: list[Batch]) -> Any:
        result = None
        for batch, data in read_batches(job, batches):
            (result,) = job.apply(batch, data, previous_batch=result)
        return result

    # -- plans ---------------------------------------------------------------------------------

    def _time_batches(
        self, from_time: int | None, to_time: int | None, channels: Any
    ) -> list[Batch]:
        chosen = select_channels(channels, self.reader.channels)
        start, stop = select_times(from_time, to_time, self.reader.observations)
        itemsize = self.reader.dtype.itemsize
        return list(
            time_batches(
                start,
                stop,
                chosen,
                itemsize,
                budget=self.max_memory,
                margin=self.reader.buffer_size,
            )
        )

    def _channel_batches(
        self,
        from_time: int | None,
        to_time: int | None,
        channels: Any,
        *,
        complete: bool,
        workers: int = 1,
    ) -> list[Batch]:
        chosen = select_channels(channels, self.reader.channels)
        start, stop = select_times(from_time, to_time, self.reader.observations)
        itemsize = self.reader.dtype.itemsize
        return list(
            channel_batches(
                start,
                stop,
                chosen,
                itemsize,
                budget=self.max_memory,
                complete=complete,
                workers=workers,
            )
        )
