"""Pickles of arrays are read; pickles that name anything else are refused, and nothing runs."""

from __future__ import annotations

import builtins
import contextlib
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.errors import DataPathError, FormatError
from ecogsource.windows.unpickle import load_plain_pickle

PLAIN = {
    "hf": np.arange(7) > 3,
    "turned": np.arange(6, dtype=">i2").reshape(2, 3).T,
    "none": np.zeros((0, 2), dtype=np.float32),
    "scalar": np.float64(2.5),
    "text": np.array(["a", "bc"]),
    "list": [1, (2.5, "three", b"four"), None, True],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_arrays_come_back_from_every_protocol(tmp_path, protocol):
    path = tmp_path / "mask.pkl"
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    loaded = load_plain_pickle(path)
    assert list(loaded) == list(PLAIN)
    for name, value in PLAIN.items():
        got = loaded[name]
        assert type(got) is type(value)
        if isinstance(value, np.ndarray):
            assert (got.shape, got.dtype.newbyteorder("=")) == (
                value.shape,
                value.dtype.newbyteorder("="),
            )
            assert got.tolist() == value.tolist()
        else:
            assert got == value


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_of_old_and_new_numpy(tmp_path, module):
    path = tmp_path / "mask.pkl"
    dumped = pickle.dumps(np.arange(4) > 1, 0)
    dumped = dumped.replace(b"numpy._core.multiarray", module.encode())
    path.write_bytes(dumped.replace(b"numpy.core.multiarray", module.encode()))
    assert load_plain_pickle(path).tolist() == [False, False, True, True]


def test_arrays_written_by_python_2(tmp_path):
    """Python 2 writes the bytes of an array as a string."""
    path = tmp_path / "mask.pkl"
    path.write_bytes(
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\n"
        b"Rp5\n(I1\n(I3\ntp6\ncnumpy\ndtype\np7\n(S'b1'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'|'\np11\nNN"
        b"NI-1\nI-1\nI0\ntp12\nbI00\nS'\\x01\\x00\\x01'\np13\ntp14\nb."
    )
    loaded = load_plain_pickle(path)
    assert loaded.dtype == bool
    assert loaded.tolist() == [True, False, True]


class Sentinel:
    """Pickles as a call that would leave a trace."""

    called = False

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class Evaluated:
    def __reduce__(self):
        return builtins.eval, ("__import__('os').getpid()",)


def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "rec.mask.pkl"
    path.write_bytes(pickle.dumps({"hf": np.zeros(3, bool), "sat": Sentinel(trace)}))
    with pytest.raises(FormatError, match=r"rec\.mask\.pkl' was refused.*asks for _?io\.open"):
        load_plain_pickle(path)
    assert not trace.exists()


# Programs that would run, import, change or allocate something if anything of them were obeyed.
_CALL = "c{0}\n{1}\n({2}tR."
_EMPTY_ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
_PROGRAMS = {
    "os.system": _CALL.format("os", "system", "S'touch trace'\n").encode(),
    "posix.system": _CALL.format("posix", "system", "S'touch trace'\n").encode(),
    "builtins.exec": _CALL.format("builtins", "exec", 'S\'open("trace","w")\'\n').encode(),
    "builtins.getattr": _CALL.format("builtins", "getattr", "S'a'\nS'join'\n").encode(),
    "runstring": _CALL.format("numpy.testing._private.utils", "runstring", "S'1'\n(d").encode(),
    "numpy.f2py": _CALL.format("numpy.f2py", "compile", "S'end'\n").encode(),
    "numpy.load": _CALL.format("numpy", "load", "S'x'\nNI01\n").encode(),
    "numpy.fromfile": _CALL.format("numpy", "fromfile", "S'/etc/hostname'\n").encode(),
    "numpy.save": _CALL.format("numpy", "save", "S'trace'\nI1\n").encode(),
    "memmap": _CALL.format("numpy", "memmap", "S'trace'\nS'u1'\nS'w+'\n").encode(),
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.__new__\x93.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0btouch trace\x85R.",
    "instance": b"(S'touch trace'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nS'touch trace'\no.",
    "newobj": b"\x80\x02cnumpy\nndarray\n(I9999999999\nt\x81.",
    "newobj of dtype": b"\x80\x02cnumpy\ndtype\n(S'O'\nt\x81.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"Pname\n.",
    "set a stand-in": b"cnumpy\nndarray\n(N(dS'_call'\ncnumpy\ndtype\nstb.",
    "objects by state": _EMPTY_ARRAY + b"(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\ntRI00\n(lNatb.",
    "huge shape": _EMPTY_ARRAY
    + b"(I1\n(L999999999999999999L\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS'x'\ntb.",
    "negative shape": _EMPTY_ARRAY + b"(I1\n(I-1\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS'x'\ntb.",
    "huge text type": _EMPTY_ARRAY + b"(I1\n(I1\ntcnumpy\ndtype\n(S'S2000000000'\ntRI00\nS'x'\ntb.",
    "huge scalar": b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'V999999999'\ntRS'x'\ntR.",
    "huge frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
    "huge bytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.",
}


@pytest.mark.parametrize("program", list(_PROGRAMS.values()), ids=list(_PROGRAMS))
def test_programs_are_refused_leave_no_trace_and_allocate_nothing(tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rec.mask.pkl"
    path.write_bytes(program)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"rec\.mask\.pkl' was refused"):
            load_plain_pickle(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert [found.name for found in tmp_path.iterdir()] == ["rec.mask.pkl"]


@pytest.mark.parametrize(
    "value",
    [
        Evaluated(),
        np.array([Evaluated(), 1], dtype=object),
        np.zeros(2, dtype=[("a", "f4")]),
        np.ma.masked_array([1, 2], [True, False]),
        np.array(["2020-01-01"], dtype="M8[D]"),
        {1, 2},
        np.matrix,
        load_plain_pickle,
        complex(1, 2),
    ],
    ids=["eval", "objects", "structured", "masked", "dates", "set", "class", "function", "complex"],
)
def test_whatever_is_not_plain_is_refused(tmp_path, value):
    path = tmp_path / "mask.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(FormatError, match="was refused"):
        load_plain_pickle(path)


def test_the_names_it_knows_can_neither_be_called_wrongly_nor_changed(tmp_path):
    path = tmp_path / "mask.pkl"
    array = b"cnumpy._core.multiarray\n_reconstruct\n"
    for program in (
        b"cnumpy\nndarray\n(I9999999\ntR.",  # would allocate
        array + b"(I1\n(I0\ntS'b'\ntR.",  # of what is no array
        array + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR.",  # without data
        array + b"(N(dS'__defaults__'\nNstb.",  # sets an attribute of the function
        array + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\nt(lNNtb.",  # data that are no bytes
        b"cnumpy\ndtype\n(S'O'\ntR.",
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        b"cnumpy\ndtype\n(S'f8'\ntR.",  # a stand-in is not data
    ):
        path.write_bytes(program)
        with pytest.raises(FormatError, match="was refused"):
            load_plain_pickle(path)


def test_a_list_that_contains_itself(tmp_path):
    path = tmp_path / "mask.pkl"
    loop: list = []
    loop.append(loop)
    path.write_bytes(pickle.dumps(loop))
    with pytest.raises(FormatError, match="levels deep"):
        load_plain_pickle(path)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_noise_and_truncation_are_typed_errors(tmp_path_factory, noise, cut):
    path = tmp_path_factory.mktemp("noise") / "mask.pkl"
    path.write_bytes(pickle.dumps(PLAIN)[:cut] + noise)
    with contextlib.suppress(FormatError):
        load_plain_pickle(path)


def test_no_file(tmp_path):
    with pytest.raises(DataPathError, match="cannot read"):
        load_plain_pickle(tmp_path / "none.pkl")
