"""Byte sizes, free memory, and the guard."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource import _machine, memory
from ecogsource.errors import ConfigError, MemoryBlowOutError
from ecogsource.memory import (
    available_memory,
    check_allocation,
    effective_limit,
    format_bytes,
    parse_bytes,
)
from ecogsource.params import OVERRIDE


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("2GB", 2_000_000_000),
        ("1.5GB", 1_500_000_000),
        ("160B", 160),
        ("300MB", 300_000_000),
        ("10 kb", 10_000),
        ("1KiB", 1024),
        ("1.5gib", 3 * 2**29),
        ("2T", 2_000_000_000_000),
        ("1e3", 1000),
        ("2.5e-1 KB", 250),
        (".5KB", 500),
        ("1_000", 1000),
        (" 7 ", 7),
        ("0", 0),
        ("9007199254740993B", 9007199254740993),
        (5, 5),
        (1e5, 100_000),
        (2.9, 2),
        (np.int32(8), 8),
        (np.float32(8), 8),
    ],
)
def test_parse_bytes(size, expected):
    found = parse_bytes(size)
    assert found == expected
    assert type(found) is int


@pytest.mark.parametrize(
    "size",
    ["", "GB", "two GB", "1.2.3GB", "5 XB", "1e", "-1", "-2GB", "1e999", -1, True, None, [1], 1j],
)
def test_parse_bytes_refuses_texts_and_types(size):
    with pytest.raises(ConfigError, match="is not a byte size") as caught:
        parse_bytes(size)
    assert repr(size) in str(caught.value)


@pytest.mark.parametrize("size", [float("inf"), float("nan"), -1.5])
def test_parse_bytes_refuses_numbers(size):
    with pytest.raises(ConfigError, match="finite and not negative"):
        parse_bytes(size)


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (160, "160 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (999_999, "1 MB"),
        (2_000_000_000, "2 GB"),
        (123_456_789, "123 MB"),
        (5 * 10**18, "5000 PB"),
        (-1500, "-1.5 KB"),
    ],
)
def test_format_bytes(n, text):
    assert format_bytes(n) == text


@given(st.integers(min_value=0, max_value=10**17))
def test_formatted_bytes_parse_to_nearly_the_same(n):
    assert parse_bytes(format_bytes(n)) == pytest.approx(n, rel=0.006)


def machine(root, groups, files):
    """Write a folder that looks like ``/`` of a machine with control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_available_memory_is_what_version_2_groups_leave(tmp_path):
    root = machine(
        tmp_path,
        "0::/slurm/job\n",
        {
            "memory.stat": "",
            "slurm/memory.max": "9000000\n",
            "slurm/memory.current": "5000000\n",
            "slurm/memory.stat": "anon 1\ninactive_file 200000\nactive_file 100000\n",
            "slurm/job/memory.max": "max\n",
            "slurm/job/memory.current": "1\n",
        },
    )
    assert available_memory(root) == 4_300_000


def test_available_memory_is_what_version_1_groups_leave(tmp_path):
    root = machine(
        tmp_path,
        "5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n",
        {
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/memory.usage_in_bytes": "77\n",
            "memory/box/memory.limit_in_bytes": "1000000\n",
            "memory/box/memory.usage_in_bytes": "900000\n",
            "memory/box/memory.stat": "inactive_file 5\ntotal_inactive_file 7\ntotal_active_file 1",
        },
    )
    assert available_memory(root) == 100_008


def test_a_group_path_that_is_not_mounted_falls_back_to_the_mount_point(tmp_path):
    root = machine(
        tmp_path, "0::/docker/abc\n", {"memory.max": "5000\n", "memory.current": "6000\n"}
    )
    assert available_memory(root) == 0


def test_without_control_groups_the_machine_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(
        _machine.psutil, "virtual_memory", lambda: type("M", (), {"available": 123})
    )
    assert available_memory(tmp_path) == 123
    assert available_memory() <= 123


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a\n", {"a/cpu.max": "150000 100000\n"}, 2),
        ("0::/a\n", {"a/cpu.max": "max 100000\n", "cpu.max": "1000 100000\n"}, 1),
        (
            "3:cpu,cpuacct:/b\n",
            {"cpu/b/cpu.cfs_quota_us": "300000\n", "cpu/b/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (
            "3:cpu:/b\n",
            {"cpu/b/cpu.cfs_quota_us": "-1\n", "cpu/b/cpu.cfs_period_us": "100000\n"},
            64,
        ),
        ("", {}, 64),
    ],
)
def test_available_cores_knows_quotas(tmp_path, monkeypatch, groups, files, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert _machine.available_cores(machine(tmp_path, groups, files)) == expected


def test_available_cores_knows_affinity(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4, 5}, raising=False)
    assert _machine.available_cores(tmp_path) == 3


@pytest.fixture
def free(monkeypatch):
    """Say how much memory is free, and count how often it is asked."""
    asked = []

    def say(n):
        monkeypatch.setattr(memory, "_FREE", memory._FreeMemory())
        monkeypatch.setattr(memory, "available_memory", lambda: asked.append(n) or n)
        return asked

    return say


def test_effective_limit_is_never_more_than_a_safe_share_of_what_is_free(free):
    free(1_000_000)
    OVERRIDE["memory_limit"] = "2GB"
    assert effective_limit() == 750_000
    OVERRIDE["memory_limit"] = 1000
    assert effective_limit() == 1000


def test_what_is_free_is_asked_once_a_second(free, monkeypatch):
    asked = free(10**12)
    now = [100.0]
    monkeypatch.setattr(memory.time, "monotonic", lambda: now[0])
    for _ in range(5):
        effective_limit()
    assert len(asked) == 1
    now[0] += 1.5
    effective_limit()
    assert len(asked) == 2


def test_small_requests_ask_the_system_nothing(free):
    asked = free(0)
    check_allocation(1000, shape=(1000,), dtype="int8")
    assert asked == []


def test_the_message_names_all_that_is_needed(free):
    free(10**12)
    OVERRIDE["memory_limit"] = 1e5
    with pytest.raises(MemoryBlowOutError) as caught:
        check_allocation(
            400_000, shape=(64, 3125), dtype=np.dtype("int16"), what="block", temporary=50_000
        )
    message = str(caught.value)
    for part in (
        "block",
        "(64, 3125)",
        "int16",
        "400 KB",
        "400000 bytes",
        "50 KB of temporary",
        "100 KB",
        "memory_limit",
        "big_slices()",
        "iter_blocks()",
        "mirror()",
    ):
        assert part in message
    assert isinstance(caught.value, MemoryError)


def test_temporaries_count(free):
    free(10**12)
    OVERRIDE["memory_limit"] = 100
    check_allocation(100, shape=(100,), dtype="int8")
    with pytest.raises(MemoryBlowOutError):
        check_allocation(100, shape=(100,), dtype="int8", temporary=1)


def test_large_requests_are_held_against_what_is_free(free):
    free(100_000_000)
    check_allocation(75_000_000, shape=(75_000_000,), dtype="int8")
    with pytest.raises(MemoryBlowOutError, match=r"75% of the memory that is free.*4 GB"):
        check_allocation(75_000_001, shape=(75_000_001,), dtype="int8")


def test_peak_memory_does_not_count_what_the_parent_held(tmp_path) -> None:
    ballast = np.ones(300 << 17)  # 300 MiB
    script = "from ecogsource._machine import peak_memory as p; a = b'x' * (40 << 20); print(p())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert _machine.peak_memory() > ballast.nbytes
    assert 40 << 20 < int(done.stdout) < 250 << 20
    elsewhere = _machine.peak_memory(tmp_path)  # no /proc: what the system's own call counts
    assert 20 << 20 < elsewhere < 1 << 40
