"""Sphinx configuration."""

import re

import ecogsource

project = "ecogsource"
author = "The ecogsource developers"
copyright = "2026, the ecogsource developers"
version = release = ecogsource.__version__

extensions = ["sphinx.ext.autodoc", "numpydoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Recordings as NumPy arrays, in bounded memory"}
html_static_path = []

numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
suppress_warnings = ["ref.python"]

_STAR = re.compile(r"(?<![\w*`\\])\*(?=[,)\s])|(?<=\()\*(?=\w)|(?<=, )\*(?=\w)")


def _escape_stars(_app, _what, _name, _object, _options, lines):
    """Shapes such as (*, n) in docstrings are no emphasis."""
    lines[:] = [_STAR.sub(r"\\*", line) for line in lines]


def setup(app):
    """Connect what this configuration adds to Sphinx."""
    app.connect("autodoc-process-docstring", _escape_stars, priority=900)
