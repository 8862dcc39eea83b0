"""Batch operations one after the other, each reading the file of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from ecogsource.batch.processor import BatchProcessor
from ecogsource.batch.sidecar import sidecar_path

__all__ = ["BatchPipeline", "PipedTransformation"]

MODES = ("single_channel_one_batch", "single_channel", "multi_channel")


class PipedTransformation:
    """One step of a :class:`BatchPipeline`.

    Parameters
    ----------
    function : callable
        What to apply.
    output_name : str
        Name of the file that the step makes.
    mode : {'single_channel_one_batch', 'single_channel', 'multi_channel'}
        Whether the function gets whole channels, pieces of channels, or all channels at a time.
    keep : bool
        Whether the file stays after the next step is done.
    if_file_exists : {'overwrite', 'abort', 'skip'}
        As for :meth:`BatchProcessor.multi_channel_apply`.
    cast_dtype : dtype_like, optional
        Type of the results.
    **kwargs
        Passed to the function.

    Raises
    ------
    ValueError
        If there is no such mode.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_name: str,
        mode: str,
        keep: bool = False,  # noqa: FBT001, FBT002 - YASS's signature
        if_file_exists: str = "overwrite",
        cast_dtype: DTypeLike | None = None,
        **kwargs: Any,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, got {mode!r}")
        self.function = function
        self.output_name = output_name
        self.mode = mode
        self.keep = keep
        self.if_file_exists = if_file_exists
        self.cast_dtype = cast_dtype
        self.kwargs = kwargs

    def run(
        self, processor: BatchProcessor, path: Path, limits: dict[str, Any], **where: Any
    ) -> tuple[Path, dict[str, Any]]:
        """Apply the step.

        Parameters
        ----------
        processor : BatchProcessor
            What to read.
        path : Path
            The file to make.
        limits : dict
            ``from_time``, ``to_time`` and ``channels``.
        **where
            ``processes`` or ``executor``.

        Returns
        -------
        path : Path
            The file.
        params : dict
            How to read it.
        """
        common = {
            "mode": "disk",
            "output_path": path,
            "if_file_exists": self.if_file_exists,
            "cast_dtype": self.cast_dtype,
            **limits,
            **where,
            **self.kwargs,
        }
        done: tuple[Path, dict[str, Any]]
        if self.mode == "multi_channel":
            done = processor.multi_channel_apply(self.function, **common)
        else:
            complete = self.mode == "single_channel_one_batch"
            done = processor.single_channel_apply(
                self.function, force_complete_channel_batch=complete, **common
            )
        return done


class BatchPipeline:
    """A chain of batch operations; each step writes a file that the next one reads.

    Parameters
    ----------
    path_to_input : path-like, source, buffer, recording or dataset
        As for :class:`RecordingsReader`.
    dtype : dtype_like, optional
        Type of the numbers of a binary file.
    n_channels : int, optional
        Channels of a binary file.
    data_order : {'channels', 'samples'}, optional
        Which values lie together.
    max_memory : int or str
        Most bytes of the data of one batch.
    output_path : path-like
        Folder for the files of all steps; it is made if it does not exist.
    from_time, to_time : int, optional
        Observations to begin and to end with.
    channels : 'all', int or sequence of int
        Which channels.
    show_progress_bar : bool
        Whether to show progress.
    processes : int
        Worker processes.
    executor : concurrent.futures.Executor, optional
        Where to work instead.
    data_format : {'wide', 'long'}, optional
        Older name of `data_order`.

    Raises
    ------
    ValueError
        If there is no `output_path`.
    """

    def __init__(
        self,
        path_to_input: Any,
        dtype: DTypeLike | None = None,
        n_channels: int | None = None,
        data_order: str | None = None,
        max_memory: int | str = "1GB",
        output_path: Any = None,
        from_time: int | None = None,
        to_time: int | None = None,
        channels: Any = "all",
        *,
        show_progress_bar: bool = True,
        processes: int = 1,
        executor: Executor | None = None,
        data_format: str | None = None,
    ) -> None:
        if output_path is None:
            raise ValueError("output_path, the folder for the files of the steps, is missing")
        self.path_to_input = path_to_input
        self.output_path = Path(output_path)
        self._how = {
            "dtype": dtype,
            "n_channels": n_channels,
            "data_order": data_order,
            "data_format": data_format,
        }
        self._common = {"max_memory": max_memory, "show_progress_bar": show_progress_bar}
        self._limits = {"from_time": from_time, "to_time": to_time, "channels": channels}
        self._where = {"processes": processes, "executor": executor}
        self.steps: list[PipedTransformation] = []

    def add(self, steps: PipedTransformation | Iterable[PipedTransformation]) -> None:
        """Add steps at the end.

        Parameters
        ----------
        steps : PipedTransformation or iterable of it
            What to do next.

        Raises
        ------
        ValueError
            If two steps would write the same file, or the same YAML file beside it.
        """
        new = [steps] if isinstance(steps, PipedTransformation) else list(steps)
        names = [sidecar_path(Path(step.output_name)).name for step in (*self.steps, *new)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(
                f"two steps of the pipeline write {', '.join(sorted(twice))}: give their outputs "
                "names that differ before the extension"
            )
        self.steps += new

    def run(self) -> tuple[list[Path], list[dict[str, Any]]]:
        """Run all steps.

        Returns
        -------
        paths : list of pathlib.Path
            The file of each step, in order. That of a step with ``keep=False`` is gone, unless
            the step is the last one.
        params : list of dict
            How to read each of them.

        Raises
        ------
        BatchError
            If a function fails; the message names the batch.
        """
        self.output_path.mkdir(parents=True, exist_ok=True)
        paths: list[Path] = []
        params: list[dict[str, Any]] = []
        source, how, limits = self.path_to_input, self._how, self._limits
        for step in self.steps:
            processor = BatchProcessor(source, **how, **self._common)  # type: ignore[arg-type]
            path = self.output_path / step.output_name
            made, found = step.run(processor, path, limits, **self._where)
            if paths and not self.steps[len(paths) - 1].keep:
                paths[-1].unlink(missing_ok=True)
                sidecar_path(paths[-1]).unlink(missing_ok=True)
            paths.append(made)
            params.append(found)
            # The limits are those of the input: what the first step wrote is all of it.
            source, how, limits = made, {}, {}
        return paths, params
