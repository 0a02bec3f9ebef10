"""Runner description and the adapter of plain runners."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tessella.server.engine.runner import PipelinedRunner, RunnerInfo, SynchronousRunner
from tessella.server.engine.tasks import Task

from ...support.gated_runner import SIDE, GatedRunner

INFO = replace(GatedRunner.info, resizes=True, results={Task.ATTENTION: (12, 64, 64)}, buckets={Task.ATTENTION: (1, 4)})


@pytest.mark.parametrize("info", [GatedRunner.info, INFO])
def test_description_survives_json(info: RunnerInfo) -> None:
    assert RunnerInfo.from_dict(json.loads(json.dumps(info.to_dict()))) == info


def test_default_result_is_one_logit_per_label() -> None:
    assert GatedRunner.info.results == {Task.LOGITS: (256,)}


def test_slot_holds_the_input_and_the_largest_result() -> None:
    assert INFO.slot_bytes(0) == 12 * 64 * 64 * 4
    assert INFO.slot_bytes(10**6) == 3 * 10**6
    logits = replace(GatedRunner.info, labels=("a",), results={})
    assert logits.slot_bytes(10**6) == SIDE**2 * 3, "it does not resize"


def test_synchronous_runner_is_done_when_it_has_started() -> None:
    runner = GatedRunner()
    adapter = SynchronousRunner(runner)
    assert not isinstance(runner, PipelinedRunner)
    images = np.full((2, SIDE, SIDE, 3), 7, np.uint8)
    call = adapter.start(images, Task.LOGITS)
    assert runner.batches == [2]
    assert adapter.finish(call).argmax(-1).tolist() == [7, 7]
    assert adapter.depth == 1
