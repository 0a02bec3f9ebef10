"""Values of the figures: the JSON document holds the explanation's numbers."""

import numpy as np

from tessella.models.visualization.values import numbers

from ...support.views import noise_views


def test_the_document_holds_the_explanation() -> None:
    vit, tnt = noise_views()
    document = numbers(vit, "sheet", None)
    assert set(document) >= {"attention", "rollout", "distance"}
    assert np.allclose(document["attention"]["values"], vit.explanation.attention, atol=1e-6)
    assert np.allclose(document["rollout"]["values"], vit.explanation.rollout, atol=1e-6)
    assert np.array(document["distance"]["mean_px"]).shape == (4, 3)
    assert document["distance"]["resnet50_receptive_field_px"] == [19, 27, 35, 43]
    assert "inner_tokens" not in document["attention"]
    attention = numbers(tnt, "attention", 2)["attention"]
    assert attention["layers"] == [2]
    assert np.array(attention["inner_tokens"]).shape == (1, 2, 12, 12)
    features = numbers(tnt, "features", 4)["features"]
    assert np.array(features["inner_tokens"][0]["values"]).shape == (6, 12, 12)
