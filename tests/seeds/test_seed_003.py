"""The cells of the DataFile notebook run on files of the same shape."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from ecogsource import DataFile

N_CH, N_SAMPLE = 62, 20000


@pytest.fixture
def data():
    return np.random.default_rng(0).standard_normal((N_SAMPLE, N_CH)).astype(np.float32)


@pytest.fixture
def datafile(tmp_path, data):
    path = tmp_path / "rec001.LM1_ECOG_3.clfp.dat"
    data.tofile(path)
    electrodes = [{"label": f"E{n + 1}"} for n in range(N_CH)]
    drives = [
        {"name": "other drive", "electrodes": electrodes[:3]},
        {"name": "LM1_ECOG_3", "electrodes": electrodes},
    ]
    hardware = {"acquisition": {"samplingrate": 30000}, "microdrive": drives}
    (tmp_path / "rec001.experiment.json").write_text(json.dumps({"hardware": hardware}))
    bad = np.zeros(N_SAMPLE, dtype=bool)
    bad[:2000] = True
    mask = {"hf": bad, "sat": np.zeros_like(bad), "ch": np.zeros(N_CH, dtype=bool)}
    (tmp_path / "rec001.LM1_ECOG_3.clfp.mask.pkl").write_bytes(pickle.dumps(mask))
    return DataFile(str(path))


def test_cells_that_look_at_a_file(datafile):
    text = str(datafile)
    for part in ("rec001.LM1_ECOG_3.clfp.dat", "20000", "20.00", "10.00", "62"):
        assert part in text
    assert datafile.rec_id == "rec001"
    assert datafile.microdrive_name == "LM1_ECOG_3"
    assert datafile.rec_type == "clfp"
    assert (datafile.srate, datafile.n_ch, datafile.n_sample) == (1000, N_CH, N_SAMPLE)
    assert datafile.t_total == 20.0
    assert datafile.data_type == np.float32
    assert datafile.ch_labels[-1] == "E62"
    assert datafile.data_mask.sum() == 2000


def test_cells_that_read(datafile, data):
    data_sample = datafile.read(t_start=8, t_len=1)
    assert np.array_equal(data_sample, data[8000:9000].T)
    assert np.array_equal(datafile.read(use_mask=False), data.T)


def test_cells_that_read_at_random(datafile, data):
    rng = np.random.default_rng(1)
    t_len = 1
    for _ in range(200):
        t_start = rng.random() * (datafile.t_total - t_len)
        first = round(t_start * datafile.srate)
        piece = datafile.read(t_start=t_start, t_len=t_len, use_mask=False)
        assert np.array_equal(piece, data[first : first + 1000].T)
