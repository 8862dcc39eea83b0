"""Every test of storage runs with the loops in C, if they were built, and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ecogsource.buffers.storage import loops


@pytest.fixture(scope="module", autouse=True, params=["loops in C", "NumPy"])
def in_c(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Tell whether the loops in C are used."""
    if request.param == "NumPy":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loops, "_loops", None)
            yield False
        return
    if not loops.available():
        pytest.skip("the loops in C were not built: there was no compiler")
    yield True
