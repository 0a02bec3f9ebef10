"""Load targets: a target whose predictions differ is named before anything is timed."""

from collections.abc import Mapping, Sequence

import pytest
from aiohttp import web

from tessella.benchmarks.photos import Photo
from tessella.benchmarks.service.load_generator import Load
from tessella.benchmarks.service.servers import ServerError
from tessella.benchmarks.service.targets import HttpTarget, PredictionMismatch, check

from ...support.classify_stub import EXPECTED, PHOTOS, stub


class Fixed:
    """Target that predicts the class in the photograph's bytes, with a fixed score."""

    def __init__(self, name: str, score: float = 0.5, wrong: str = "") -> None:
        self.name, self._score, self._wrong = name, score, wrong

    def classify(self, photo: Photo) -> tuple[int, float]:
        return (999 if photo.name == self._wrong else int(photo.data)), self._score

    def closed(self, photos: Sequence[Photo], expected: Mapping[str, int], clients: int, seconds: float) -> Load:
        return Load((), seconds)

    def resume(self) -> None: ...

    def suspend(self) -> None: ...


def test_check_returns_the_classes_that_all_targets_predict() -> None:
    with stub() as url:
        assert (
            check([Fixed("bare loop"), HttpTarget("tessella", url), Fixed("peer", 0.501)], PHOTOS, "float32")
            == EXPECTED
        )


@pytest.mark.parametrize("peer", [Fixed("litserve", wrong="2"), Fixed("litserve", score=0.51)])
def test_a_target_with_another_class_or_score_is_named(peer: Fixed) -> None:
    with pytest.raises(PredictionMismatch, match=r"litserve predicts class \d+ with .* bare loop class"):
        check([Fixed("bare loop"), peer], PHOTOS, "float32")
    if peer._score == 0.51:
        check([Fixed("bare loop"), peer], PHOTOS, "bfloat16")


def test_the_path_of_a_url_is_kept() -> None:
    assert HttpTarget("service", "http://host:1/").url == "http://host:1/classify"
    assert HttpTarget("service", "http://host:1/v1/infer").url == "http://host:1/v1/infer"


def test_a_url_that_does_not_classify_is_named() -> None:
    async def refuse(body: bytes) -> web.StreamResponse:
        return web.Response(status=404) if body == b"0" else web.json_response({"label": "cat"})

    with stub(refuse) as url:
        for photo, reason in ((PHOTOS[0], "404"), (PHOTOS[1], "results")):
            with pytest.raises(ServerError, match=rf"{url}/classify gave no .* of /classify: .*{reason}"):
                HttpTarget("service", url).classify(photo)


def test_both_loops_reach_the_server() -> None:
    with stub() as url:
        served = HttpTarget("service", url)
        closed = served.closed(PHOTOS, EXPECTED, clients=2, seconds=0.05)
        opened = served.open(PHOTOS, EXPECTED, rate=100, seconds=0.1, seed=0)
    assert len(closed.of("accepted")) == len(closed.samples) > 0
    assert len(opened.of("accepted")) == len(opened.samples) > 0
