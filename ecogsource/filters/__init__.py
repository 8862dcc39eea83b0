"""Filters and resampling over any stream of blocks, with carried state.

Nothing here knows what a source or a file is: input arrives as arrays whose last axis is time,
or through a ``read(start, stop)`` function. The result never depends on how the time axis was
cut into blocks.
"""

from ecogsource.filters.decimate import (
    DecimateStream,
    decimate_range,
    decimated_length,
    decimation_stages,
)
from ecogsource.filters.design import FilterDesign, design_filter, design_notch, notch_lines
from ecogsource.filters.kernels import FirKernel, Kernel, SosKernel
from ecogsource.filters.streams import (
    BlockStream,
    FilterStream,
    FirStream,
    SosStream,
    filtered_dtype,
    run_stream,
)
from ecogsource.filters.zerophase import filter_causal, zero_phase

__all__ = [
    "BlockStream",
    "DecimateStream",
    "FilterDesign",
    "FilterStream",
    "FirKernel",
    "FirStream",
    "Kernel",
    "SosKernel",
    "SosStream",
    "decimate_range",
    "decimated_length",
    "decimation_stages",
    "design_filter",
    "design_notch",
    "filter_causal",
    "filtered_dtype",
    "notch_lines",
    "run_stream",
    "zero_phase",
]
