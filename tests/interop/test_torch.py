"""Windows as PyTorch datasets: the same windows in any number of workers, forked or spawned."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from ecogsource.windows import DataFile, WindowDataset
from tests.windows.helper import write_recording

try:
    import torch
    from torch.utils.data import DataLoader

    from ecogsource.interop.torch import WindowMap, WindowStream
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch")
    files = [
        DataFile(write_recording(folder, rec_id=f"r{n}", n_samples=900 + n, seed=n)[0])
        for n in range(3)
    ]
    return WindowDataset(files, 30, n_windows=70, seed=5)


@needs_torch
def test_a_window_is_a_tensor(windows):
    dataset = WindowMap(windows)
    assert len(dataset) == 70
    assert isinstance(dataset, torch.utils.data.Dataset)
    assert (dataset[3].dtype, tuple(dataset[3].shape)) == (torch.float32, (3, 30))
    assert np.array_equal(dataset[3].numpy(), windows[3])
    assert all(
        np.array_equal(a, windows[i])
        for a, i in zip(dataset.__getitems__([9, 2]), [9, 2], strict=True)
    )
    with pytest.raises(IndexError, match="window 70 of 70"):
        dataset[70]


def loaders(windows, **options):
    yield DataLoader(WindowStream(windows, 16), batch_size=None, **options)
    yield DataLoader(WindowMap(windows), 16, **options)


@needs_torch
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("workers", "start"), [(0, None), (1, "fork"), (2, "spawn"), (3, "fork")])
def test_any_number_of_workers_gives_the_same_batches(windows, workers, start):
    expected = [windows.batch(range(k, min(70, k + 16))) for k in range(0, 70, 16)]
    for loader in loaders(windows, num_workers=workers, multiprocessing_context=start):
        batches = list(loader)
        assert len(batches) == len(loader) == 5
        assert all(np.array_equal(a, b) for a, b in zip(batches, expected, strict=True))
        if start == "spawn":
            break  # importing PyTorch anew in every worker takes long


@needs_torch
@pytest.mark.parametrize("persistent", [False, True])
def test_batches_that_are_kept_stay_as_they_are(windows, persistent):
    """Workers use memory again: of batches that were let go, not of those somebody looks at."""
    expected = [windows.batch(range(k, min(70, k + 4))) for k in range(0, 70, 4)]
    loaders = (
        DataLoader(data, size, num_workers=2, persistent_workers=persistent)
        for data, size in ((WindowStream(windows, 4), None), (WindowMap(windows), 4))
    )
    for loader in loaders:
        kept = []
        for _ in range(3):
            for number, (batch, right) in enumerate(zip(loader, expected, strict=True)):
                assert type(batch) is torch.Tensor
                assert np.array_equal(batch, right)
                if number % 3 == 0:
                    kept.append((batch[1:], right[1:]))
                if number % 5 == 0:
                    kept.append((batch.numpy(), right))
        assert len(kept) == 30
        assert all(np.array_equal(batch, right) for batch, right in kept)


@needs_torch
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_may_be_put_together_in_any_way(windows, workers):
    def loaded(collate, data=None):
        data = WindowMap(windows) if data is None else data
        return list(DataLoader(data, 7, num_workers=workers, collate_fn=collate))

    expected = windows.batch(range(70)).reshape(10, 7, *windows.shape)
    assert np.array_equal(torch.stack(loaded(torch.stack)), expected)
    assert np.array_equal(torch.stack(loaded(lambda rows: torch.stack(rows) * 2)), expected * 2)
    assert np.array_equal(torch.stack(loaded(lambda rows: rows[3])), expected[:, 3])
    backwards = loaded(lambda rows: torch.utils.data.default_collate(rows[::-1]))
    assert np.array_equal(torch.stack(backwards), expected[:, ::-1])
    fewer = loaded(lambda rows: torch.utils.data.default_collate(rows[1:]))
    assert np.array_equal(torch.stack(fewer), expected[:, 1:])
    some = torch.utils.data.Subset(WindowMap(windows), range(69, -1, -1))
    assert np.array_equal(torch.cat(loaded(None, some)), windows.batch(range(70))[::-1])


@needs_torch
@pytest.mark.parametrize("persistent", [False, True])
def test_epochs_reach_the_workers(windows, persistent):
    stream = WindowStream(windows, 35, drop_last=True)
    loader = DataLoader(stream, batch_size=None, num_workers=2, persistent_workers=persistent)
    seen = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        windows.set_epoch(epoch)
        batches = list(loader)
        assert np.array_equal(batches[1], windows.batch(range(35, 70)))
        seen.append(batches[0])
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


@needs_torch
def test_enumerated_windows_are_shuffled_anew_in_each_epoch(windows):
    ordered = WindowDataset(windows.sources, 30, stride=30)
    stream = WindowStream(ordered, 8, shuffle=True, workers=2)
    first = torch.cat(list(stream))
    assert len(stream) == 12
    stream.set_epoch(1)
    second = torch.cat(list(stream))
    assert not torch.equal(first, second)
    key = lambda batch: sorted(batch[:, 0, 0].tolist())  # noqa: E731
    assert key(first) == key(second) == key(torch.from_numpy(ordered.batch(range(len(ordered)))))


@needs_torch
def test_a_transform_may_return_what_it_likes(windows):
    scaled = WindowDataset(windows.sources, 30, transform=lambda window: window[:, :-1] * 2)
    assert np.array_equal(WindowMap(scaled)[0].numpy(), scaled[0])
    paired = WindowDataset(windows.sources, 30, transform=lambda window: (window, 1))
    assert WindowMap(paired)[0][1] == 1


@needs_torch
def test_classes_are_found_by_name_and_pickle(windows):
    import ecogsource.interop.torch as module

    assert module.WindowMap is module.WindowMap is type(WindowMap(windows))
    assert set(dir(module)) == {"WindowMap", "WindowStream"}
    assert "map-style" in WindowMap.__doc__
    again = pickle.loads(pickle.dumps(WindowMap(windows)))
    assert np.array_equal(again[5], windows[5])
    with pytest.raises(AttributeError, match="no attribute 'WindowList'"):
        _ = module.WindowList


@needs_torch
def test_a_small_network_learns_to_forecast(shared_data):
    """On the real grid: the next sample of a channel from the 20 before."""
    path = shared_data / "flat" / "peslab" / "recTEST.LM1_ECOG_3.clfp_ds250.dat"
    file = DataFile(path, order="channels")
    windows = WindowDataset(file, 21, n_windows=512, seed=1, transform=lambda window: window / 100)
    train, test = windows.split("time", (0.8, 0.2), gap=25)
    torch.manual_seed(0)
    layers = [torch.nn.Conv1d(1, 16, 20), torch.nn.Tanh(), torch.nn.Conv1d(16, 1, 1)]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def loss_of(batch):
        past, last, following = batch.reshape(-1, 1, 21).split([19, 1, 1], dim=2)
        forecast = last + model(torch.cat([past, last], dim=2))
        return ((forecast - following) ** 2).mean(), ((last - following) ** 2).mean()

    stream = WindowStream(train, 64)
    for epoch in range(6):
        stream.set_epoch(epoch)
        for batch in DataLoader(stream, batch_size=None):
            optimizer.zero_grad()
            loss_of(batch)[0].backward()
            optimizer.step()
    with torch.no_grad():
        loss, of_no_change = loss_of(torch.from_numpy(test.batch(range(len(test)))))
    assert loss < 0.7 * of_no_change


def test_without_torch_the_bridge_says_how_to_install_it():
    """With the import of torch blocked, as if it were not installed."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import ecogsource.interop, ecogsource.interop.torch as bridge\n"
        "try:\n    bridge.WindowMap\n"
        "except ImportError as error:\n    sys.stdout.write(f'{type(error).__name__}: {error}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingDependencyError")
    assert "pip install 'ecogsource[torch]'" in done.stdout
