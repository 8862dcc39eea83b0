"""Stimulus experiments: when something was shown or played, and what."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecogsource.errors import JoinError
from ecogsource.expconfig.bunch import nearest

__all__ = ["StimulatedExperiment", "join_experiments"]


class StimulatedExperiment:
    """Events with time stamps, and tables that say what each event was.

    Every table is also an attribute, as is everything given as a keyword.

    Parameters
    ----------
    time_stamps : array_like, shape (n,)
        When the events happened, in samples (integers) or in any other unit.
    event_tables : mapping of str to array_like, optional
        Name -> one value (number or text) per event.
    condition_order : sequence of str, optional
        The tables that make a condition, slowest first; all tables if not given.
    **attributes
        Anything else that is known, such as ``exp_type="tones"``.

    Raises
    ------
    ValueError
        If a table does not have one value per event, or `condition_order` names no table.
    """

    def __init__(
        self,
        time_stamps: ArrayLike = (),
        event_tables: Mapping[str, ArrayLike] | None = None,
        condition_order: Sequence[str] | None = None,
        **attributes: Any,
    ) -> None:
        stamps = np.asarray(time_stamps)
        if stamps.ndim != 1:
            raise ValueError(f"time stamps have one dimension, got shape {stamps.shape}")
        integral = stamps.size == 0 or stamps.dtype.kind in "iu"
        self.time_stamps: NDArray[Any] = stamps.astype(np.int64 if integral else np.float64)
        tables = {name: np.asarray(table) for name, table in (event_tables or {}).items()}
        for name, table in tables.items():
            if table.shape != stamps.shape:
                raise ValueError(
                    f"table {name!r} needs one value per event: got shape {table.shape} "
                    f"for {stamps.size} events"
                )
        self._tables = tables
        order = tuple(tables) if condition_order is None else tuple(condition_order)
        for name in order:
            if name not in tables:
                raise ValueError(f"no table {name!r} for condition_order{nearest(name, tables)}")
        self.condition_order = order
        self.attributes = dict(attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        for place in (self._tables, self.attributes):
            if name in place:
                return place[name]
        known = [*self._tables, *self.attributes]
        raise AttributeError(f"the experiment has no {name!r}{nearest(name, known)}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._tables, *self.attributes})

    @property
    def event_tables(self) -> Mapping[str, NDArray[Any]]:
        """Name -> one value per event; read-only."""
        return MappingProxyType(self._tables)

    def __len__(self) -> int:
        return int(self.time_stamps.size)

    def __getitem__(self, index: Any) -> Any:
        """Return a table by name, or the experiment of some of the events."""
        if isinstance(index, str):
            if index not in self._tables:
                raise KeyError(f"no table {index!r}{nearest(index, self._tables)}")
            return self._tables[index]
        if isinstance(index, (int, np.integer)):
            index = [int(index)]
        return self._replace(
            self.time_stamps[index],
            {name: table[index] for name, table in self._tables.items()},
        )

    def _replace(
        self, stamps: NDArray[Any], tables: Mapping[str, NDArray[Any]]
    ) -> StimulatedExperiment:
        return type(self)(stamps, tables, self.condition_order, **self.attributes)

    def shifted(self, offset: float) -> StimulatedExperiment:
        """Return the experiment with all time stamps moved.

        Parameters
        ----------
        offset : int or float
            Added to the time stamps.

        Returns
        -------
        StimulatedExperiment
            Everything else is the same.
        """
        return self._replace(self.time_stamps + offset, self._tables)

    def enumerate_conditions(self) -> tuple[NDArray[np.int64], list[Any]]:
        """Give every event the number of its condition, by the tables in `condition_order`.

        Returns
        -------
        numbers : ndarray of int64, shape (n,)
            The condition of every event.
        conditions : list of namedtuple
            The values of every condition, sorted; fields are named after the tables. One empty
            condition if there are no tables.
        """
        return self._enumerate(self.condition_order)

    def _enumerate(self, names: Sequence[str]) -> tuple[NDArray[np.int64], list[Any]]:
        condition = namedtuple("Condition", names, rename=True)  # type: ignore[misc]
        levels, codes = [], []
        for name in names:
            values, code = np.unique(self[name], return_inverse=True)
            levels.append(values)
            codes.append(code.reshape(-1))
        if not names:
            return np.zeros(len(self), dtype=np.int64), [condition()]
        combos, numbers = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
        conditions = [
            condition(*(values[k].item() for values, k in zip(levels, combo, strict=True)))
            for combo in combos
        ]
        return numbers.reshape(-1).astype(np.int64), conditions

    def iterate_for(self, tables: str | Sequence[str]) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        """Go through the distinct values of one or several tables.

        Parameters
        ----------
        tables : str or sequence of str
            Names of tables.

        Yields
        ------
        condition : namedtuple
            The values; fields are named after the tables.
        events : ndarray of int64
            Positions of the events with these values.

        Raises
        ------
        KeyError
            If there is no such table.
        """
        numbers, conditions = self._enumerate((tables,) if isinstance(tables, str) else tables)
        for number, condition in enumerate(conditions):
            yield condition, np.flatnonzero(numbers == number)

    def join(self, other: StimulatedExperiment, offset: float = 0) -> StimulatedExperiment:
        """Append another experiment.

        Parameters
        ----------
        other : StimulatedExperiment
            The later events.
        offset : int or float
            Added to the time stamps of `other`: the length of the recording of this one.

        Returns
        -------
        StimulatedExperiment
            See `join_experiments`.
        """
        return join_experiments([self, other], [0, offset])

    def __repr__(self) -> str:
        tables = ", ".join(
            f"{name} ({np.unique(table).size} values)" for name, table in self._tables.items()
        )
        return f"{type(self).__name__}({len(self)} events{': ' if tables else ''}{tables})"


def join_experiments(
    experiments: Sequence[StimulatedExperiment], offsets: Sequence[float]
) -> StimulatedExperiment:
    """Join experiments end to end: the result holds the union of all conditions.

    Parameters
    ----------
    experiments : sequence of StimulatedExperiment
        At least one.
    offsets : sequence of int or float
        For each, what to add to its time stamps.

    Returns
    -------
    StimulatedExperiment
        Tables that only some experiments have are filled with NaN, or with ``""`` for text, for
        the events of the others. Attributes that all share with one value are kept.

    Raises
    ------
    JoinError
        If there is nothing to join, the numbers of experiments and offsets differ, or a table
        holds numbers in one experiment and text in another.
    """
    if not experiments or len(experiments) != len(offsets):
        raise JoinError(
            f"one offset per experiment is needed: got {len(experiments)} experiments "
            f"and {len(offsets)} offsets"
        )
    stamps = np.concatenate(
        [exp.time_stamps + offset for exp, offset in zip(experiments, offsets, strict=True)]
    )
    names = list(dict.fromkeys(name for exp in experiments for name in exp.event_tables))
    tables = {name: _joined_table(name, experiments) for name in names}
    order = dict.fromkeys(name for exp in experiments for name in exp.condition_order)
    first, *rest = (exp.attributes for exp in experiments)
    attributes = {
        key: value for key, value in first.items() if all(_same(key, value, o) for o in rest)
    }
    return type(experiments[0])(stamps, tables, tuple(order), **attributes)


def _same(key: str, value: Any, other: Mapping[str, Any]) -> bool:
    return key in other and bool(np.all(other[key] == value))


def _joined_table(name: str, experiments: Sequence[StimulatedExperiment]) -> NDArray[Any]:
    kinds = {
        exp.event_tables[name].dtype.kind in "US" for exp in experiments if name in exp.event_tables
    }
    if len(kinds) > 1:
        raise JoinError(f"table {name!r} holds text in one experiment and numbers in another")
    fill = "" if kinds == {True} else np.nan
    return np.concatenate(
        [exp.event_tables.get(name, np.full(len(exp), fill)) for exp in experiments]
    )
