"""Functions that worker processes can import, and short ways to the batch processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.batch import BatchProcessor
from ecogsource.batch.pools import workers_for

N_OBS, N_CHANNELS = 1000, 7


def processor(path: Path, order: str, **options: Any) -> BatchProcessor:
    return BatchProcessor(path, "int16", N_CHANNELS, order, show_progress_bar=False, **options)


def plus_one(batch: np.ndarray) -> np.ndarray:
    return batch + 1


def double(batch: np.ndarray) -> np.ndarray:
    return batch.astype("f8") / 2


def peak(batch: np.ndarray, offset: int = 0) -> Any:
    return batch.max(axis=0) + offset


def fail_late(batch: np.ndarray, idx: Any, idx_local: Any) -> np.ndarray:
    if idx[0].start >= 500:
        raise ZeroDivisionError("no such luck")
    return batch


def start_workers(processes: int) -> None:
    """Have workers at hand, so that they and not this process do the batches."""
    with workers_for(processes, None) as workers:
        assert workers is not None
        workers.wait()
