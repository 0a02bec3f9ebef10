"""Subjects: shipped networks, architectures with random weights, their features and layers."""

import numpy as np
import pytest
import torch

from tessella.models.visualization.subject import Subject

from ...support.views import noise_views


def test_random_weights_need_the_option_and_are_named() -> None:
    subject = Subject.load("vit_tiny_patch16_224", random_weights=True)
    assert subject.name == "vit_tiny_patch16_224, random weights"
    assert (subject.preprocessing.size, subject.network.config.depth) == (224, 12)
    again = Subject.load("vit_tiny_patch16_224", random_weights=True)
    assert all(
        (one == other).all() for one, other in zip(*(s.network.parameters() for s in (subject, again)), strict=True)
    )
    with pytest.raises(LookupError, match="is an architecture, not a checkpoint"):
        Subject.load("vit_tiny_patch16_224")
    with pytest.raises(ValueError, match="'resnet50' is not a known architecture"):
        Subject.load("resnet50", random_weights=True)


def test_features_of_a_layer_are_the_mean_over_its_tokens() -> None:
    subject = noise_views()[0].subject
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    last: list[torch.Tensor] = []
    handle = subject.network.norm.register_forward_pre_hook(lambda module, inputs: last.append(inputs[0]))
    features = subject.features(pixels, 4)
    handle.remove()
    assert torch.allclose(features, last[0].mean(dim=1), atol=1e-5)
    assert subject.features(pixels).shape == (2, 96)
    with pytest.raises(ValueError, match="digits-vit has layers 1 to 4, not 0"):
        subject.features(pixels, 0)


def test_the_heading_names_model_image_and_prediction() -> None:
    view = noise_views()[0]
    prediction = view.prediction
    assert prediction is not None
    label, score = prediction["label"], prediction["score"]
    assert view.heading == f"digits-vit: noise.png, read as {label} ({score:.0%})"
    assert score == pytest.approx(float(view.explanation.logits.softmax(dim=0).max()), abs=1e-6)
