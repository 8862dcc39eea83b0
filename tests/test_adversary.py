"""Parameters from what is no parameter file."""

from __future__ import annotations

import pytest

from ecogsource import load_params
from ecogsource.errors import ConfigError


def test_a_folder_for_a_parameter_file(tmp_path, monkeypatch):
    monkeypatch.setenv("ECOGSOURCE_CONFIG", str(tmp_path))
    with pytest.raises(ConfigError, match="parameter file cannot be read: Is a directory"):
        load_params()
