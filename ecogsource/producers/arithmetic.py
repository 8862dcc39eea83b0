"""NumPy's functions of producers: ``pro * 2``, ``np.hypot(a, b)``, computed chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ecogsource.buffers import ArrayBuffer, Buffer
from ecogsource.producers.base import ProducerBase
from ecogsource.producers.compose import apply
from ecogsource.producers.lazy import Call

if TYPE_CHECKING:
    from ecogsource.producers.core import Producer
    from ecogsource.producers.walking import Origin

__all__ = ["ArithmeticMixin"]


class ArithmeticMixin(ProducerBase, NDArrayOperatorsMixin):
    """Operators and universal functions; the results are producers."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Make a producer of a universal function of producers, arrays and numbers.

        Operands broadcast as in NumPy. An operand without the axis of the samples (gains per
        channel, say) takes part in every chunk; one with it is cut like the producers.
        """
        pros: list[Any] = [x for x in inputs if isinstance(x, ProducerBase)]
        for pro in pros:
            pro._numeric(f"{ufunc.__name__}()")
        if method != "__call__" or ufunc.signature is not None or not pros:
            raise TypeError(
                f"{ufunc.__name__}{'' if method == '__call__' else '.' + method}() takes no "
                "producers; use a method such as pro.sum(), or pro.map(function)"
            )
        if kwargs.keys() & {"out", "where"}:
            raise TypeError("producers are never changed: there is no out= or where=")
        inputs = tuple(np.asarray(x) if isinstance(x, list | tuple) else x for x in inputs)
        whole = np.broadcast_shapes(*(np.shape(x) for x in inputs))
        first, axis = _leading(pros, whole)
        template: list[Any] = []
        along: list[tuple[Origin, int]] = []
        for x in inputs:
            fixed, cut = _operand(x, len(whole) - axis, whole[axis])
            template.append(_Slot(len(along)) if cut is not None else fixed)
            along += [cut] if cut is not None else []
        kinds = _result_types(ufunc, inputs, kwargs)
        made = []
        for number, kind in enumerate(kinds):
            function = _UfuncCall(ufunc, template, kwargs, number)
            call = Call(function, tuple(along), first.chunksize)
            made.append(apply(call, whole, kind, first, axis - len(whole)))
        return made[0] if ufunc.nout == 1 else tuple(made)


class _Slot(int):
    """The number of a chunk among the arguments of a call."""


class _UfuncCall:
    """A universal function with some operands given; it takes the others."""

    fresh = True

    def __init__(
        self, ufunc: np.ufunc, template: list[Any], kwargs: dict[str, Any], output: int
    ) -> None:
        self.ufunc, self.template, self.kwargs, self.output = ufunc, template, kwargs, output
        self.__name__ = ufunc.__name__

    def __call__(self, *chunks: np.ndarray) -> Any:
        operands = [chunks[x] if isinstance(x, _Slot) else x for x in self.template]
        result = self.ufunc(*operands, **self.kwargs)
        return result if self.ufunc.nout == 1 else result[self.output]


def _leading(pros: list[Any], whole: tuple[int, ...]) -> tuple[Producer, int]:
    """Find the producer whose axis of samples is that of the result, and that axis."""
    for pro in pros:
        axis: int = len(whole) - pro.ndim + pro._axis
        if whole[axis] == pro.shape[pro._axis]:
            return pro, axis
    raise ValueError(
        f"the result of shape {whole} has more samples than any of the producers: only their "
        "other axes are broadcast"
    )


def _operand(x: Any, from_end: int, size: int) -> tuple[Any, tuple[Origin, int] | None]:
    """Say whether an operand is cut along the axis of the samples, or taken whole."""
    shape = np.shape(x)
    axis = len(shape) - from_end
    has_axis = axis >= 0 and shape[axis] == size
    if isinstance(x, ProducerBase):
        pro: Any = x
        if not has_axis:
            return pro.to_array(), None
        origin = pro.produced_from
        if not isinstance(origin, Buffer) and origin.axis != axis:
            raise ValueError(
                f"a producer that runs along axis {origin.axis} meets one along axis {axis}; "
                "write it to a file with to_file(path) first"
            )
        return None, (origin, axis)
    if not has_axis:
        return x, None
    return None, (ArrayBuffer(np.asarray(x)), axis)


def _result_types(
    ufunc: np.ufunc, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[np.dtype]:
    """Let NumPy choose, by calling the function with nothing."""
    nothing = [np.empty(0, x.dtype) if np.ndim(x) else x for x in inputs]
    results = ufunc(*nothing, **kwargs)
    return [r.dtype for r in (results if ufunc.nout > 1 else (results,))]
