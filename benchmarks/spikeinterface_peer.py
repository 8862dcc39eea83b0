"""SpikeInterface's chunked save and filter, run by any interpreter that has it.

Its current releases want other packages than those of the tests: the benchmark of batches runs
this file with its own interpreter and with those named in $ECOGSOURCE_SPIKEINTERFACE_PYTHON. It
says its version, or nothing if it cannot save; then it does one work for each line it is sent.
"""

import os
import shutil
import sys
import warnings
from pathlib import Path


def main():
    """Serve works until there are no more lines."""
    path, channels, fs, folder = sys.argv[1:]
    warnings.simplefilter("ignore")
    try:
        import spikeinterface
        from spikeinterface import core, preprocessing
    except ImportError:
        return
    raw = core.BinaryRecordingExtractor(
        [path], sampling_frequency=float(fs), num_channels=int(channels), dtype="int16"
    )
    recordings = {
        "save": raw,
        "bandpass": preprocessing.bandpass_filter(raw, freq_min=300, freq_max=3000, filter_order=3),
    }

    def work(name, jobs):
        name, _, sync = name.partition("+")
        shutil.rmtree(Path(folder), ignore_errors=True)
        recordings[name].save(
            folder=folder, n_jobs=jobs, chunk_duration="1s", progress_bar=False, verbose=False
        )
        if sync:
            for file in Path(folder).glob("*.raw"):
                with open(file, "r+b") as written:
                    os.fsync(written.fileno())

    try:
        work("save", 1)
    except AttributeError:
        # Some releases fail under NumPy 2.
        return
    sys.stdout.write(spikeinterface.__version__ + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        name, jobs = line.split()
        work(name, int(jobs))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
