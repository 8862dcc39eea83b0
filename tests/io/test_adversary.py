"""What is no file must not keep the caller waiting."""

from __future__ import annotations

import os

import pytest

from ecogsource import open_recording
from ecogsource.errors import FormatError


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a thing of Unix")
@pytest.mark.parametrize("name", ["pipe", "pipe.h5", "pipe.dat", "pipe.rhd"])
def test_a_pipe_is_refused_without_opening_it(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(FormatError, match=f"{name}.*not a regular file"):
        open_recording(tmp_path / name)
