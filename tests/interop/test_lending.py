"""Memory that workers of PyTorch lend, within one process: who is looked at, and who is not."""

from __future__ import annotations

import os
import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from ecogsource.interop import lending  # noqa: E402
from ecogsource.interop.lending import Lender, rows_of  # noqa: E402

if not hasattr(os, "memfd_create"):
    pytest.skip("memory is lent on Linux only", allow_module_level=True)


@pytest.fixture(autouse=True)
def parent_is_there(monkeypatch):
    """A container's first process has no parent; that is no matter within one process."""
    monkeypatch.setattr(lending, "_can_be_mapped", lambda: True)


def lend(lender, number, shape=(3, 4)):
    return lender.lend(shape, np.dtype("f4"), lambda out: out.fill(number))


def sent(tensor):
    return pickle.loads(bytes(ForkingPickler.dumps(tensor)))


def test_a_tensor_is_sent_as_its_place():
    lender = Lender()
    lent = lend(lender, 7)
    received = sent(lent)
    assert type(received) is torch.Tensor
    assert received.dtype is torch.float32
    assert torch.equal(received, torch.full((3, 4), 7.0))
    lent[0, 0] = 8
    assert received[0, 0] == 8
    assert type(lent + 1) is type(lent[0]) is torch.Tensor


@pytest.mark.parametrize("look", ["all", "part", "numpy", "part of numpy"])
def test_memory_is_used_again_when_nobody_looks_at_it(look):
    lender = Lender()
    received = sent(lend(lender, 1))
    looking = {
        "all": received,
        "part": received[1:].T,
        "numpy": received.numpy(),
        "part of numpy": received.numpy()[2:],
    }.pop(look)
    del received
    assert len(lender._memories) == 1
    other = sent(lend(lender, 2))
    assert len(lender._memories) == 2
    assert np.all(np.asarray(looking) == 1)
    del looking
    again = sent(lend(lender, 3))
    assert len(lender._memories) == 2
    assert torch.all(other == 2)
    assert torch.all(again == 3)


def test_what_was_not_sent_or_is_looked_at_here_too():
    lender = Lender()
    lend(lender, 1)
    here = lend(lender, 2)
    assert len(lender._memories) == 1
    sent(here)
    # Given back, but not free: this process may look at it as long as it likes.
    there = sent(lend(lender, 3))
    assert len(lender._memories) == 2
    assert torch.all(here == 2)
    row = rows_of(here)[1]
    del here
    lend(lender, 4)
    assert torch.all(row == 2)
    assert torch.all(there == 3)


def test_no_more_is_lent_than_agreed():
    lender, free = Lender(), len(os.listdir("/proc/self/fd"))
    out = [sent(lend(lender, n)) for n in range(lending.MOST_LENT)]
    assert lend(lender, 99) is None
    # The file, and a map of it on either side.
    assert len(os.listdir("/proc/self/fd")) == free + 3 * lending.MOST_LENT
    assert [int(tensor[0, 0]) for tensor in out] == list(range(lending.MOST_LENT))
    out.clear()
    assert lend(lender, 5) is not None
    assert len(lender._memories) == lending.MOST_IDLE + 1
    assert lend(lender, 6, (100, 4)).shape == (100, 4)
    del lender
    assert len(os.listdir("/proc/self/fd")) == free


def test_a_tensor_that_was_turned_or_cut_is_sent_as_it_is():
    lender = Lender()
    lent = lender.lend((3, 4), np.dtype("f4"), lambda out: out.__setitem__(..., [1, 2, 3, 4]))
    lent.transpose_(0, 1)
    assert torch.equal(sent(lent), torch.tensor([[1.0], [2], [3], [4]]).expand(4, 3))
    lent = lend(lender, 5)
    lent.unsqueeze_(0)
    assert torch.equal(sent(lent), torch.full((1, 3, 4), 5.0))
    assert torch.equal(sent(rows_of(lend(lender, 6))[2]), torch.full((4,), 6.0))


def test_another_file_is_not_taken_for_the_memory():
    lender = Lender()
    lent = lend(lender, 1)
    message = bytes(ForkingPickler.dumps(lent))
    fd = lent.memory.fd
    other = os.memfd_create("other")
    os.dup2(other, fd)
    os.close(other)
    with pytest.raises(RuntimeError, match=f"fd/{fd} is not the memory that was lent"):
        pickle.loads(message)


def test_where_there_is_no_such_memory(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert lend(Lender(), 1) is not None
    with monkeypatch.context() as patch:
        patch.setattr(os, "getppid", lambda: 2**22 + 1)
        assert lend(Lender(), 1) is None
    monkeypatch.delattr(os, "memfd_create")
    assert lend(Lender(), 1) is None


def test_too_little_memory(monkeypatch):
    free = len(os.listdir("/proc/self/fd"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        lend(Lender(), 1)
    assert len(os.listdir("/proc/self/fd")) == free
