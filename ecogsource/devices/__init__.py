"""Acquisition systems: one loader class per system turns a recording into a dataset."""
