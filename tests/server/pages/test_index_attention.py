"""Attention maps on the Classify page: painted over the patches, described in the caption, or why there are none."""

import httpx
import numpy as np
import pytest
from playwright.sync_api import Route, expect

from ...support.browser import IMAGE, PageSession, browser_page, session
from ...support.handwriting import SCHOOL

__all__ = ["browser_page", "session"]
pytestmark = pytest.mark.browser


def expected_caption(session: PageSession, image: bytes, layer: int) -> str:
    """Caption of a layer of digits-vit, computed from the service's response."""
    query = "model=digits-vit&explain=attention"
    explanation = httpx.post(f"{session.url}/classify?{query}", content=image).json()["results"][0]["explain"]
    values = np.array(explanation["values"][layer - 1])
    row, column = np.unravel_index(values.argmax(), values.shape)
    return f"layer {layer} of {explanation['layers']}: max at row {row + 1}, column {column + 1}"


def test_the_attention_map_is_painted_over_the_patches(session: PageSession) -> None:
    page = session.page
    caption, patches = page.locator(".card figcaption"), page.locator(".card .patches")
    page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": IMAGE["bytes"]})
    session.result()
    expect(caption).to_have_text("6 × 6 patches of 4 × 4 pixels")
    plain = patches.screenshot()
    page.get_by_label("Attention").select_option("attention")
    expect(caption).to_have_text(expected_caption(session, IMAGE["bytes"], 4))
    expect(page.locator("#layer-text")).to_have_text("4 of 4")
    last = patches.screenshot()
    page.get_by_label("Layer").press("ArrowLeft")
    expect(caption).to_have_text(expected_caption(session, IMAGE["bytes"], 3))
    assert len({plain, last, patches.screenshot()}) == 3
    session.assert_accessible()
    page.get_by_label("Attention").select_option("rollout")
    expect(caption).to_contain_text("layer 3 of 4")
    page.get_by_label("Attention").select_option("")
    expect(caption).to_have_text("6 × 6 patches of 4 × 4 pixels")
    assert patches.screenshot() == plain


def test_both_models_show_their_attention_maps(session: PageSession) -> None:
    session.page.get_by_label("Model").select_option(label="All, side by side")
    session.page.get_by_label("Attention").select_option("rollout")
    session.draw(SCHOOL.write(7))
    session.result()
    captions = session.page.locator(".card figcaption")
    expect(captions.nth(1)).to_contain_text("layer 4 of 4")
    expect(captions.nth(0)).to_contain_text("layer 4 of 4")


def test_the_reason_for_a_missing_attention_map_is_shown(session: PageSession) -> None:
    error = {"error": "model 'digits-vit' gives no attention", "error_type": "bad_request"}
    session.page.route("**/classify?*explain=*", lambda route: route.fulfill(status=400, json=error))
    session.page.get_by_label("Attention").select_option("rollout")
    session.draw(SCHOOL.write(7))
    assert session.result() in "0123456789"
    expect(session.page.locator(".card figcaption")).to_have_text("model 'digits-vit' gives no attention")
    session.expect_failed_requests()


def test_controls_are_hidden_if_the_service_has_no_attention_maps(session: PageSession) -> None:
    def without_parameters(route: Route) -> None:
        document = route.fetch().json()
        document["paths"]["/classify"]["post"]["parameters"].clear()
        route.fulfill(json=document)

    session.page.route("**/openapi.json", without_parameters)
    with session.page.expect_response("**/openapi.json"):
        session.open()
    expect(session.page.locator("#attention")).to_be_hidden()
