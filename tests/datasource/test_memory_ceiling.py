"""The peak memory of long work does not grow with the length of the recording."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
WORKS = ["mirror turned", "down", "filter"] + (["mirror", "down turned"] if NIGHTLY else [])

# The file is sparse: its zeros take no disk, and reading them is fast.
CHILD = """
import sys
import numpy as np, h5py, scipy.signal
from pathlib import Path
from ecogsource._machine import peak_memory
from ecogsource.buffers import FlatBuffer
from ecogsource.datasource import MappedSource
from ecogsource.datasource.resample import downsample_to_file
folder, work, samples = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with open(folder / "x.dat", "wb") as file:
    file.truncate(32 * samples * 4)
turned = work.endswith("turned")
shape = (samples, 32) if turned else (32, samples)
source = MappedSource(FlatBuffer(folder / "x.dat", "f4", shape), transpose=turned, fs=20000.0)
out = folder / "out.h5"
if work.startswith("down"):
    downsample_to_file(source, out, 40)
elif work.startswith("filter"):
    source.filter_array(out=out, design_kwargs={"lo": 1, "hi": 200, "order": 1})
else:
    source.mirror(filename=out, writeable=False)
sys.stdout.write(str(peak_memory() >> 20))
"""


def peak_mb(folder: Path, work: str, samples: int) -> int:
    config = folder / "params.ini"
    config.write_text("[params]\nworkers = 2\nmemory_limit = 128MB\n")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), work, str(samples)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ECOGSOURCE_CONFIG": str(config)},
    )
    assert done.returncode == 0, done.stderr
    for path in folder.iterdir():
        path.unlink()
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux counts")
@pytest.mark.parametrize("work", WORKS)
def test_peak_memory(tmp_path: Path, work: str) -> None:
    short, long = (peak_mb(tmp_path, work, samples) for samples in (300_000, 1_200_000))
    # Four times as long; 115 MB more data. Maps of the file count, within the engine's bounds.
    assert long < short + 50, (short, long)
