"""Batches: what they hold, and that answers do not depend on the cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecogsource.batch import (
    BatchProcessor,
    RecordingsReader,
    running,
)
from ecogsource.batch.plan import channel_batches, chosen_channels
from ecogsource.datasource import MappedSource
from ecogsource.datasource.blockmemory import BlockMemory
from ecogsource.errors import BatchError
from tests.batch.helpers import (
    N_CHANNELS,
    N_OBS,
    fail_late,
    plus_one,
    processor,
    start_workers,
)
from tests.oracle import assert_same


class TestBatches:
    @pytest.mark.parametrize("max_memory", ["160B", "1KB", 4000, "1.5GB"])
    @pytest.mark.parametrize("buffer_size", [0, 2])
    def test_several_channels(
        self, path: Path, order: str, data: np.ndarray, max_memory: Any, buffer_size: int
    ) -> None:
        bp = processor(path, order, max_memory=max_memory, buffer_size=buffer_size)
        chosen = [5, 0, 1]
        parts = []
        for batch, local, absolute in bp.multi_channel(100, 900, chosen):
            assert batch.dtype == np.int16
            assert batch.nbytes <= bp.max_memory
            assert_same(batch[local], data[absolute[0]][:, chosen])
            assert_same(batch[local], bp.reader.data[absolute])
            parts.append(batch[local])
        assert_same(np.concatenate(parts), data[100:900][:, chosen])
        only = list(bp.multi_channel(100, 900, chosen, return_data=False))
        assert len(only) == len(parts)
        assert only[0][0].start == 100

    def test_the_ends_are_padded(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="1KB", buffer_size=10)
        padded = np.pad(data, ((10, 10), (0, 0)))
        for batch, _, (time, _) in bp.multi_channel():
            assert_same(batch, padded[time.start : time.stop + 20])

    def test_memory_is_used_again_only_when_nobody_holds_it(
        self, path: Path, order: str, data: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = []

        def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
            made.append(shape)
            return np.empty(shape, dtype)

        monkeypatch.setattr(running, "BlockMemory", lambda: BlockMemory(allocate))
        bp = processor(path, order, max_memory=data.nbytes // 10)
        count = 0
        for batch, _, (time, _) in bp.multi_channel():
            assert_same(batch, data[time])
            count += 1
        assert len(made) <= 4 < count
        made.clear()
        kept = [batch for batch, _, _ in bp.multi_channel()]
        assert len(made) == len(kept) == count
        assert_same(np.concatenate(kept), data)

    def test_one_channel(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="5KB")
        found = list(bp.single_channel(channels=[6, 2]))
        assert len(found) == 2
        assert_same(found[0], data[:, 6])
        assert_same(found[1], data[:, 2])
        (part,) = bp.single_channel(from_time=10, to_time=20, channels=3)
        assert_same(part, data[10:20, 3])
        small = processor(path, order, max_memory="600B")
        with pytest.raises(ValueError, match="1000 observations of one channel take 2 KB"):
            next(iter(small.single_channel()))
        pieces = list(small.single_channel(force_complete_channel_batch=False, channels=[0, 4]))
        assert [channel for _, channel in pieces] == [0] * 4 + [4] * 4
        assert_same(np.concatenate([piece for piece, _ in pieces[4:]]), data[:, 4])

    def test_any_way_to_name_channels(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order)
        mask = np.arange(N_CHANNELS) % 2 == 0
        for channels in (3, np.int8(-1), [6, -7, 6], (1,), slice(5, 1, -2), mask, range(2)):
            rows = [channels] if isinstance(channels, (int, np.integer)) else channels
            rows = list(rows) if isinstance(rows, (tuple, range)) else rows
            ((found, _, place),) = bp.multi_channel(np.int16(7), np.uint8(9), channels)
            assert_same(found, data[7:9, rows])
            assert_same(bp.reader[place], found)
            assert_same(np.stack(list(bp.single_channel(True, 7, 9, channels)), 1), found)

    @pytest.mark.parametrize("margin", [999, 1000, 3000])
    def test_margins_longer_than_the_recording(
        self, path: Path, order: str, data: np.ndarray, margin: int
    ) -> None:
        padded = np.pad(data, ((margin, margin), (0, 0)))
        for max_memory in ("1GB", 14 * (2 * margin + 300)):
            bp = processor(path, order, buffer_size=margin, max_memory=max_memory)
            for batch, local, (time, _) in bp.multi_channel(1, 999):
                assert_same(batch, padded[time.start : time.stop + 2 * margin])
                assert_same(batch[local], data[time])

    def test_nothing_to_cut(self) -> None:
        for shape in ((0, 4), (4, 0)):
            with pytest.raises(ValueError, match="0 (observations|channels)"):
                next(BatchProcessor(np.zeros(shape)).multi_channel())

    @pytest.mark.parametrize("budget", [2000, 4100, 10**6])
    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_workers_share_channels_evenly(self, budget: int, workers: int) -> None:
        for count in (1, 2, 7, 100):
            batches = list(
                channel_batches(
                    0, 1000, range(count), 2, budget=budget, complete=True, workers=workers
                )
            )
            assert chosen_channels(batches) == list(range(count))
            sizes = [len(batch.channels) for batch in batches[workers > 1 :]]
            assert max(sizes, default=1) * 2000 <= budget
            assert max(sizes, default=1) - min(sizes, default=1) <= 1
            if workers > 1 and count > 4 * workers:
                assert len(sizes) >= 4 * workers

    def test_limits_that_make_no_sense(self, path: Path, order: str) -> None:
        bp = processor(path, order)
        with pytest.raises(TypeError, match="float"):
            next(bp.multi_channel(1.5))
        for limits in ((5, 5), (-1, 5), (0, 1001)):
            with pytest.raises(ValueError, match="inside the 1000 observations"):
                next(bp.multi_channel(*limits))
        with pytest.raises(IndexError, match="index 7 is out of bounds"):
            next(bp.multi_channel(channels=[7]))
        with pytest.raises(ValueError, match="got 'every'"):
            next(bp.multi_channel(channels="every"))
        with pytest.raises(ValueError, match="selects nothing"):
            next(bp.multi_channel(channels=[]))
        with pytest.raises(ValueError, match="one observation of 7 channels with a buffer of 3"):
            next(processor(path, order, max_memory=50, buffer_size=3).multi_channel())
        with pytest.raises(ValueError, match="does not hold one number of 2 B"):
            next(processor(path, order, max_memory=1).single_channel(False))


class TestApply:
    def test_functions_may_learn_where_they_are(
        self, path: Path, order: str, data: np.ndarray
    ) -> None:
        bp = processor(path, order, max_memory="1KB", buffer_size=4)

        def check(batch: np.ndarray, idx_local: Any, idx: Any) -> int:
            assert_same(batch[idx_local], data[idx])
            return len(batch)

        lengths = bp.multi_channel_apply(check, "memory", pass_batch_info=True)
        assert sum(length - 8 for length in lengths) == N_OBS

        def trim(result: np.ndarray, idx_local: Any, idx: Any, buffer_size: int) -> np.ndarray:
            assert buffer_size == 4
            return result[idx_local]

        parts = bp.multi_channel_apply(plus_one, "memory", cleanup_function=trim)
        assert_same(np.concatenate(parts), data + 1)

    def test_results_may_be_handed_on(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="1KB")

        def add(batch: np.ndarray, previous_batch: int | None) -> int:
            return int(batch.astype(int).sum()) + (previous_batch or 0)

        total = bp.multi_channel_apply(add, "memory", pass_batch_results=True)
        assert total == data.astype(int).sum()
        for wrong in ({"mode": "disk"}, {"mode": "memory", "processes": 2}):
            with pytest.raises(ValueError, match="mode='memory' and one process"):
                bp.multi_channel_apply(add, pass_batch_results=True, **wrong)

    @pytest.mark.parametrize("processes", [1, 2])
    def test_the_failing_batch_is_named(
        self, path: Path, order: str, processes: int, tmp_path: Path
    ) -> None:
        bp = processor(path, order, max_memory="1.4KB")
        start_workers(2)
        with pytest.raises(
            BatchError, match=r"batch 5 \(observations 500 to 600, 7 channels.*no such luck"
        ):
            bp.multi_channel_apply(
                fail_late,
                "disk",
                output_path=tmp_path / "m.bin",
                pass_batch_info=True,
                processes=processes,
            )
        assert [p.name for p in tmp_path.iterdir()] == ["raw.bin"]

    def test_results_of_any_length(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="1.4KB")
        made, params = bp.multi_channel_apply(
            lambda batch: batch[::2], "disk", output_path=path.with_name("half.bin")
        )
        assert params["n_channels"] == 7
        assert_same(RecordingsReader(made)[:], data[::2])
        made, params = bp.multi_channel_apply(
            lambda batch: batch.sum(axis=1, keepdims=True)[:, 0],
            "disk",
            output_path=path.with_name("sum.bin"),
        )
        assert params["n_channels"] == 1
        assert_same(RecordingsReader(made)[:, 0], data.sum(axis=1))
        made, _ = bp.single_channel_apply(
            plus_one, "disk", path.with_name("twice.bin"), False, channels=[2, 2]
        )
        assert_same(RecordingsReader(made)[:], data[:, [2, 2]] + 1)

    def test_data_may_be_changed_and_given_back(
        self, path: Path, order: str, data: np.ndarray
    ) -> None:
        def negate(batch: np.ndarray) -> np.ndarray:
            np.negative(batch, out=batch)
            return batch

        out = path.with_name("negative.bin")
        for given_as in (path, data.copy(), MappedSource(data.T.copy())):
            how = {"data_order": order} if given_as is path else {"data_order": "samples"}
            if given_as is path:
                how |= {"dtype": "int16", "n_channels": N_CHANNELS}
            bp = BatchProcessor(given_as, max_memory=400, show_progress_bar=False, **how)
            made, _ = bp.multi_channel_apply(negate, "disk", output_path=out)
            assert_same(RecordingsReader(made)[:], -data)
            made, _ = bp.single_channel_apply(negate, "disk", out, False, channels=[1, 1, 0])
            assert_same(RecordingsReader(made)[:], -data[:, [1, 1, 0]])
            assert_same(bp.reader[:], data)

    @pytest.mark.parametrize(
        ("returned", "kind"),
        [
            (None, "NoneType of type object"),
            ("text", "str of type <U4"),
            ([[1], [2, 3]], "list of type object"),
            ((np.zeros(3), np.zeros(3)), "tuple, and"),
            (np.zeros(3, "M8[s]"), r"ndarray of type datetime64"),
        ],
    )
    @pytest.mark.parametrize("late", [False, True])
    def test_results_that_no_file_can_hold(
        self, path: Path, order: str, returned: Any, kind: str, late: bool
    ) -> None:
        bp = processor(path, order, max_memory="1.4KB")

        def function(batch: np.ndarray, idx: Any, idx_local: Any) -> Any:
            return batch.max() if late and idx[0].start == 0 else returned

        with pytest.raises(BatchError, match=rf"batch {int(late)} .*returned {kind}"):
            bp.multi_channel_apply(
                function, "disk", output_path=path.with_name("o.bin"), pass_batch_info=True
            )
        assert bp.multi_channel_apply(lambda _: returned, "memory")[0] is returned

    def test_the_order_of_bytes_is_kept(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="1.4KB")
        made, params = bp.multi_channel_apply(
            plus_one, "disk", output_path=path.with_name("o.bin"), cast_dtype=">i4"
        )
        assert params["dtype"] == ">i4"
        assert_same(RecordingsReader(made)[:], (data + 1).astype("i4"))

    def test_errors_on_the_way_of_results_name_the_batch(self, path: Path, order: str) -> None:
        bp = processor(path, order, max_memory="1.4KB")

        def stumble(batch: np.ndarray, previous_batch: int | None) -> int:
            if previous_batch == 3:
                raise KeyError("no more")
            return (previous_batch or 0) + 1

        with pytest.raises(BatchError, match="batch 3 .*KeyError: 'no more'") as caught:
            bp.multi_channel_apply(stumble, "memory", pass_batch_results=True)
        assert isinstance(caught.value.__cause__, KeyError)

        def wrong(result: Any, idx_local: Any, idx: Any, buffer_size: int) -> Any:
            raise LookupError(f"at {idx[0].start}")

        with pytest.raises(BatchError, match="batch 0 .*LookupError: at 0"):
            bp.multi_channel_apply(plus_one, "memory", cleanup_function=wrong)

    def test_results_that_do_not_belong_together(self, path: Path, order: str) -> None:
        bp = processor(path, order, max_memory="1.4KB")
        seen: list[int] = []

        def moody(batch: np.ndarray, step: int) -> np.ndarray:
            seen.append(1)
            return batch[::step].astype("f4" if len(seen) > 1 else "f8")

        for step in (1, 2):
            seen.clear()
            with pytest.raises(BatchError, match=r"batch 1 .*float32.*float64.*cast_dtype"):
                bp.multi_channel_apply(
                    moody, "disk", output_path=path.with_name("o.bin"), step=step
                )

    def test_arguments_that_contradict(self, path: Path, order: str) -> None:
        bp = processor(path, order)
        with pytest.raises(ValueError, match="'disk' or 'memory', got 'tape'"):
            bp.multi_channel_apply(plus_one, "tape")
        with pytest.raises(ValueError, match="needs an output_path"):
            bp.multi_channel_apply(plus_one, "disk")
