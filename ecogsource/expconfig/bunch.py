"""A dictionary whose keys are attributes too: what sessions and datasets are made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

__all__ = ["Bunch", "nearest"]

Self = TypeVar("Self", bound="Bunch")


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Write a hint at the known name that was probably meant.

    Parameters
    ----------
    name : str
        What was given.
    known : iterable of str
        What would have been right.
    otherwise : str
        What to write if no name is close, such as the full stop before another sentence.

    Returns
    -------
    str
        For instance ``"; did you mean 'electrode'?"``, or `otherwise`.
    """
    by_lower = {str(each).lower(): str(each) for each in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=3, cutoff=0.6)
    if not close:
        return otherwise
    return f"; did you mean {' or '.join(repr(by_lower[each]) for each in close)}?"


class Bunch(dict[str, Any]):
    """A dictionary with attribute access.

    ``bunch.name`` and ``bunch["name"]`` are the same thing, for reading, writing and deleting.
    Names that are methods of a dictionary are reached as keys only.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__} has no {name!r}{nearest(name, self)}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(key for key in self if str(key).isidentifier())})

    def copy(self: Self) -> Self:
        """Return a shallow copy of the same class."""
        return type(self)(self)

    def __repr__(self) -> str:
        if not self:
            return f"{type(self).__name__}()"
        width = max(len(str(key)) for key in self)
        return "\n".join(f"{key!s:<{width}} : {value!r}" for key, value in self.items())
