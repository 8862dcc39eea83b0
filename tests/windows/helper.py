"""Small recordings as a lab writes them, and the slow way to do what windows do."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np

DRIVES = {"ECOG": 5, "SC32": 3}


def write_experiment(
    folder: Path, rec_id: str = "rec001", *, rate: int = 30000, drives=DRIVES
) -> Path:
    """Write an experiment file with drives of different sizes; the first is not the largest."""
    hardware = {
        "acquisition": {"samplingrate": rate, "data_format": "ushort"},
        "microdrive": [
            {
                "name": name,
                "electrodes": [
                    {"label": f"{name} E{e + 1:02d}", "position": {"x": 0.75 * e, "y": 1.5}}
                    for e in range(count)
                ],
            }
            for name, count in drives.items()
        ],
    }
    path = folder / f"{rec_id}.experiment.json"
    path.write_text(json.dumps({"hardware": hardware}))
    return path


def write_recording(
    folder: Path,
    rec_type: str = "clfp",
    drive: str = "SC32",
    n_samples: int = 3217,
    *,
    rec_id: str = "rec001",
    masks: dict | None = None,
    seed: int = 0,
) -> tuple[Path, np.ndarray]:
    """Write a data file and its masks; return the path and channels x time."""
    folder.mkdir(exist_ok=True, parents=True)
    write_experiment(folder, rec_id)
    rng = np.random.default_rng(seed)
    shape = (n_samples, DRIVES[drive])
    if rec_type.startswith("raw"):
        data = rng.integers(0, 2**16, shape, dtype=np.uint16)
    else:
        data = rng.standard_normal(shape, dtype=np.float32)
    path = folder / f"{rec_id}.{drive}.{rec_type}.dat"
    data.tofile(path)
    if masks is not None:
        path.with_suffix(".mask.pkl").write_bytes(pickle.dumps(masks))
    return path, data.T.copy()


def mask_of(n_samples: int, *stretches: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(n_samples, dtype=bool)
    for start, stop in stretches:
        mask[start:stop] = True
    return mask


def all_starts(mask: np.ndarray, length: int) -> list[int]:
    """Every start of a window without a bad sample, by looking at each."""
    return [s for s in range(len(mask) - length + 1) if not mask[s : s + length].any()]
