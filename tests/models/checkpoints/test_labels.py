"""Class labels: a checkpoint's own first, then ImageNet-1k's, then numbers."""

import pytest

from tessella.benchmarks import timm_import  # noqa: F401
from tessella.models.checkpoints.labels import imagenet_1k, read_labels
from tessella.models.errors import CheckpointError


def test_imagenet_names_are_in_the_order_of_published_heads() -> None:
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    names = imagenet_1k()
    assert len(names) == 1000
    assert [info.index_to_description(index) for index in range(1000)] == list(names)


@pytest.mark.parametrize(
    "document",
    [
        {"id2label": {"2": "k", "0": "a", "1": "c"}},
        {"label_names": ["a", "c", "k"]},
        {"label_names": {"0": "a", "1": "c", "2": "k"}},
        {"pretrained_cfg": {"label_names": ["n0", "c", "k"], "label_descriptions": {"n0": "a"}}},
    ],
)
def test_own_names(document: dict[str, object]) -> None:
    assert read_labels(document, 3) == (("a", "c", "k"), None)


@pytest.mark.parametrize(
    "labels",
    [{"10": "k", "0": "a", "2": "c"}, {"0": "a", "00": "b", "1": "c"}, {"a": 0, "c": 1, "k": 2}, ["a", "c", "k"]],
    ids=["gaps", "doubles", "the wrong way round", "list"],
)
def test_indices_that_are_not_those_of_the_head_are_refused(labels: object) -> None:
    with pytest.raises(CheckpointError, match=r'config\.json has id2label with .*"0" to "2" without gaps'):
        read_labels({"id2label": labels}, 3)


def test_ten_and_more_labels_are_in_numeric_order() -> None:
    assert read_labels({"id2label": {str(index): index for index in range(12)}}, 12)[0] == tuple(map(str, range(12)))


def test_own_names_must_match_the_head() -> None:
    with pytest.raises(CheckpointError, match="names 2 classes, the head has 3"):
        read_labels({"id2label": {"0": "a", "1": "b"}}, 3)


def test_inferred_labels_come_with_a_note() -> None:
    labels, note = read_labels(None, 1000)
    assert labels == imagenet_1k()
    assert note is not None
    assert read_labels({}, 2)[0] == ("class 0", "class 1")


def test_no_labels_without_a_head() -> None:
    assert read_labels({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, 0)[0] == ()
