"""Chunks from anything: one iterable of arrays, as often as needed, in constant memory.

:func:`producer` takes whatever holds data and gives a :class:`Producer`, which yields arrays of
`chunksize` samples along an axis. Producers compose into further producers (functions, filters,
arithmetic, masks, joins) without reading anything.

Inside, a producer walks over one of two things: a *buffer*, which can be read anywhere, or a
*stream*, which can only be run from its start. Everything that is computed lazily is one of them.
"""

from ecogsource.producers.adapters import register_adapter
from ecogsource.producers.core import ItemProducer, Producer, Zipped
from ecogsource.producers.door import producer

__all__ = ["ItemProducer", "Producer", "Zipped", "producer", "register_adapter"]
