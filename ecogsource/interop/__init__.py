"""Bridges to other packages, each a thin adapter that is imported by name.

``from ecogsource.interop import torch`` gives the bridge to PyTorch, and so on. A bridge imports
its package when it is used, and says how to install it if it is not there.
"""
