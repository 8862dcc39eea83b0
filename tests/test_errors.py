"""Errors: each is also a builtin, tells where, and survives the way back from a worker."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ecogsource import errors
from ecogsource.errors import ConfigError, CorruptDataError, MissingDependencyError, require

BUILTINS = {
    "BatchError": RuntimeError,
    "ConfigError": ValueError,
    "CorruptDataError": OSError,
    "DataPathError": FileNotFoundError,
    "EcogSourceError": Exception,
    "FormatError": ValueError,
    "GapError": ValueError,
    "JoinError": ValueError,
    "MemoryBlowOutError": MemoryError,
    "MissingDependencyError": ImportError,
    "ReadOnlyError": OSError,
    "WorkerError": RuntimeError,
}


def test_every_error_is_listed_here():
    assert set(errors.__all__) == {*BUILTINS, "require"}


@pytest.mark.parametrize("name", BUILTINS)
def test_each_is_the_librarys_and_the_builtin_a_caller_expects(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.EcogSourceError)
    assert issubclass(kind, BUILTINS[name])
    with pytest.raises(BUILTINS[name], match="what was got"):
        raise kind("what was got")


@pytest.mark.parametrize("name", BUILTINS)
def test_each_survives_pickling(name):
    error = pickle.loads(pickle.dumps(getattr(errors, name)("what was got")))
    assert type(error).__name__ == name
    assert str(error) == "what was got"


def test_corrupt_data_tells_file_and_offset():
    error = CorruptDataError("checksum differs", Path("/a/b.h5"), 4096)
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert str(one) == "checksum differs (file '/a/b.h5', byte 4096)"
        assert (one.filename, one.offset) == ("/a/b.h5", 4096)
    assert str(CorruptDataError("short", "x.dat")) == "short (file 'x.dat')"


def test_config_error_tells_file_section_and_key():
    error = ConfigError("bad value", Path("/a/s.txt"), "rec_1", "bnc")
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert str(one) == "bad value (file '/a/s.txt', section 'rec_1', key 'bnc')"
        assert (one.filename, one.section, one.key) == ("/a/s.txt", "rec_1", "bnc")


def test_require_imports_or_gives_the_command():
    assert require("json", "plot").dumps([]) == "[]"
    with pytest.raises(MissingDependencyError) as caught:
        require("no_such_package_at_all", "devices")
    message = str(caught.value)
    assert "'no_such_package_at_all' is needed" in message
    assert "pip install 'ecogsource[devices]'" in message
