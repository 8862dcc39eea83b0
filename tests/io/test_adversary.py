"""What is no file must not keep the caller waiting."""

from __future__ import annotations

import errno
import os

import h5py
import numpy as np
import pytest

from ecogsource import open_recording
from ecogsource.errors import FormatError
from ecogsource.io.info import damage_is_typed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a thing of Unix")
@pytest.mark.parametrize("name", ["pipe", "pipe.h5", "pipe.dat", "pipe.rhd"])
def test_a_pipe_is_refused_without_opening_it(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(FormatError, match=f"{name}.*not a regular file"):
        open_recording(tmp_path / name)


@pytest.mark.parametrize("fs", ["a", 0, -3.0, float("nan"), [1000.0]])
def test_a_rate_that_is_none_is_no_damage_of_the_file(tmp_path, fs):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((3, 50))
    with pytest.raises(FormatError, match="is not a sampling rate in Hz"):
        open_recording(path, fs=fs)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
def test_what_the_system_refuses_is_no_damage_of_the_file(number):
    refused = OSError(number, os.strerror(number), "a.edf")
    with pytest.raises(OSError, match="a.edf") as caught, damage_is_typed("a.edf"):
        raise refused
    assert caught.value is refused


def test_what_was_left_out_of_a_file_is_shown(tmp_path):
    path = tmp_path / "a.dat"
    np.zeros(100, "i2").tofile(path)
    recording = open_recording(path, dtype="i2", n_channels=7)
    assert "warning: 4 bytes after the last whole sample" in repr(recording)
    assert "warning" not in repr(open_recording(path, dtype="i2", n_channels=5))
