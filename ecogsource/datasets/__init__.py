"""Datasets by name: load one recording, several, or join what is loaded."""

from ecogsource.datasets.joining import join_datasets
from ecogsource.datasets.loading import (
    load_datasets,
    load_experiment_auto,
    load_experiment_manual,
    loader_for,
)
from ecogsource.devices.dataset import Dataset

__all__ = [
    "Dataset",
    "join_datasets",
    "load_datasets",
    "load_experiment_auto",
    "load_experiment_manual",
    "loader_for",
]
