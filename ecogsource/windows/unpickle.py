"""Reading pickles of plain arrays without running anything that they name.

A pickle is a program. Masks come from other people, so the only names that a pickle may use here
are those that NumPy writes for a plain array, and even these are answered by stand-ins: no code of
NumPy runs on the pickle's data until the whole of it was found to be plain.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import DataPathError, FormatError

__all__ = ["load_plain_pickle"]

_KINDS = "biufcSU"
_MAX_DEPTH = 8


class _Name:
    """Stands for what a pickle asks for by name; it can be called, but not changed.

    Parameters
    ----------
    call : callable
        What happens instead.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to change what it names")


class _Dtype:
    """Stands for a dtype while the pickle is read."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        if not isinstance(code, str) or code[:1] not in _KINDS:
            raise pickle.UnpicklingError(f"an array of type {code!r} is not plain")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, sub-array, names, fields, ...): a plain type has no parts.
        if not isinstance(state, tuple) or len(state) < 5 or any(state[2:5]):
            raise pickle.UnpicklingError("a structured type is not plain")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array while the pickle is read."""

    def __init__(self) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array without shape, type and bytes")
        _, shape, dtype, fortran, data = state
        self.array = _plain_array(data, dtype, shape, "F" if fortran else "C")


def _plain_array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if isinstance(data, str):
        # Bytes written by Python 2 arrive as text of the same numbers.
        data = data.encode("latin-1")
    if not isinstance(data, bytes | bytearray) or not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array that does not consist of bytes is not plain")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise pickle.UnpicklingError(f"{shape!r} is not the shape of an array")
    return np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _no_bytes(*arguments: Any) -> bytes:
    # How protocols before 3 write the bytes of an empty array.
    if arguments:
        raise pickle.UnpicklingError("bytes made from something else are not plain")
    return b""


def _refuse(*_: Any) -> None:
    raise pickle.UnpicklingError("it calls what is only named in the pickle of a plain array")


_NDARRAY = _Name(_refuse)


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("only plain numpy.ndarray is read, no class derived from it")
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> np.ndarray:
    return _plain_array(data, dtype, shape, order)


def _scalar(dtype: Any, data: Any) -> Any:
    return _plain_array(data, dtype, (), "C")[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    # How protocols before 3 write bytes.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in encoding {encoding!r} is not plain")
    return text.encode("latin-1")


_ALLOWED = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Name(_Dtype),
    ("_codecs", "encode"): _Name(_encode),
    ("__builtin__", "bytes"): _Name(_no_bytes),
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Name(_reconstruct)
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _Name(_scalar)
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _Name(_frombuffer)


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows a handful of names and answers them itself."""

    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in of an allowed name."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is not a plain NumPy array"
            ) from None


def _finish(value: Any, depth: int = 0) -> Any:
    """Replace the stand-ins by what they stand for."""
    if depth > _MAX_DEPTH:
        raise pickle.UnpicklingError(f"it is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, _Array):
        if value.array is None:
            raise pickle.UnpicklingError("an array without data")
        return value.array
    if isinstance(value, dict):
        return {key: _finish(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_finish(item, depth + 1) for item in value)
    if isinstance(value, np.ndarray | np.generic | str | bytes | bool | int | float | None):
        return value
    raise pickle.UnpicklingError(f"a {type(value).__name__} is not plain data")


def load_plain_pickle(path: str | os.PathLike[str]) -> Any:
    """Load a pickle that holds nothing but NumPy arrays, numbers, text, dicts and lists.

    Parameters
    ----------
    path : path-like
        The pickle, of any protocol.

    Returns
    -------
    object
        What was pickled. Arrays may be read-only.

    Raises
    ------
    DataPathError
        If the file cannot be read.
    FormatError
        If it is no pickle, or holds anything else. Nothing that it names was run or imported.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataPathError(f"cannot read {os.fspath(path)!r}: {error.strerror}") from error
    try:
        # latin1: the only encoding that keeps the array bytes of Python 2.
        return _finish(_PlainUnpickler(io.BytesIO(data), encoding="latin1").load())
    except Exception as error:
        # A damaged pickle may raise nearly anything; all of it means the same to the caller.
        raise FormatError(
            f"{os.fspath(path)!r} was refused: {error}. Only pickles of plain NumPy arrays, "
            "numbers, text, dicts and lists are read; save the masks as .npz with numpy.savez"
        ) from error
