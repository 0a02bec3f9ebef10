"""The page Classify: pictures from a camera, two chosen models, and what a network looked at."""

import httpx
import numpy as np
import pytest
from playwright.sync_api import Route, expect

from ...support.browser import PICTURE, Visit, visit, window
from ...support.handwriting import SCHOOL

__all__ = ["visit", "window"]
pytestmark = pytest.mark.browser

DENIED = "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', '%s'); }; }"


def test_a_picture_is_taken_and_classified(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Take picture").wait_for()
    expect(page.locator("#video")).to_be_visible()
    page.wait_for_timeout(100)
    visit.assert_accessible()
    page.get_by_role("button", name="Take picture").click()
    assert visit.answer() in "0123456789"
    expect(page.locator("#video")).to_be_hidden()
    expect(page.locator("#picture")).to_have_attribute("alt", "camera.jpg")
    assert page.evaluate("document.querySelector('#video').srcObject") is None


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_a_camera_can_be_closed_again(visit: Visit, how: str) -> None:
    page = visit.page
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Take picture").wait_for()
    if how == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Close camera").click()
    expect(page.locator("#video")).to_be_hidden()
    expect(page.locator("#page")).to_have_attribute("data-state", "empty")


@pytest.mark.parametrize(("error", "says"), [("NotAllowedError", "does not let"), ("NotFoundError", "no camera here")])
def test_without_a_camera_the_page_says_so(visit: Visit, error: str, says: str) -> None:
    visit.page.evaluate(DENIED % error)
    visit.page.get_by_role("button", name="Camera", exact=True).click()
    expect(visit.page.get_by_role("alert")).to_contain_text(says)
    visit.draw(SCHOOL.write(1))
    assert visit.answer() in "0123456789"


def test_two_of_several_models_answer_side_by_side(visit: Visit) -> None:
    page = visit.page
    served = httpx.get(f"{visit.url}/models").json()
    served["models"].append(served["models"][0] | {"name": "third"})
    page.route(f"{visit.url}/models", lambda route: route.fulfill(json=served))
    visit.open()
    page.get_by_label("Model").select_option("digits-tnt")
    page.get_by_label("beside").select_option("digits-vit")
    visit.draw(SCHOOL.write(5))
    visit.answer()
    assert page.locator(".card .model").all_inner_texts() == ["digits-tnt", "digits-vit"]
    page.get_by_label("Model").select_option(label="All, side by side")
    expect(page.get_by_label("beside")).to_be_hidden()
    page.get_by_label("Model").select_option("digits-vit")
    page.get_by_label("beside").select_option("digits-vit")
    expect(page.locator(".card")).to_have_count(1)
    visit.expect_failed_requests()  # nobody serves the third


def hottest(visit: Visit, image: bytes, layer: int) -> str:
    """What the caption says of a layer of digits-vit, from the service's own answer."""
    query = "model=digits-vit&explain=attention"
    answer = httpx.post(f"{visit.url}/classify?{query}", content=image).json()["results"][0]["explain"]
    values = np.array(answer["values"][layer - 1])
    row, column = np.unravel_index(values.argmax(), values.shape)
    return f"layer {layer} of {answer['layers']}: most at row {row + 1}, column {column + 1}"


def test_what_a_network_looked_at_lies_over_its_tiles(visit: Visit) -> None:
    page = visit.page
    caption, tiles = page.locator(".card figcaption"), page.locator(".card .tiles")
    page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": PICTURE["bytes"]})
    visit.answer()
    expect(caption).to_have_text("6 × 6 tiles of 4 × 4 pixels")
    plain = tiles.screenshot()
    page.get_by_label("Attention").select_option("attention")
    expect(caption).to_have_text(hottest(visit, PICTURE["bytes"], 4))
    expect(page.locator("#layer-text")).to_have_text("4 of 4")
    last = tiles.screenshot()
    page.get_by_label("Layer").press("ArrowLeft")
    expect(caption).to_have_text(hottest(visit, PICTURE["bytes"], 3))
    assert len({plain, last, tiles.screenshot()}) == 3
    visit.assert_accessible()
    page.get_by_label("Attention").select_option("rollout")
    expect(caption).to_contain_text("layer 3 of 4")
    page.get_by_label("Attention").select_option("")
    expect(caption).to_have_text("6 × 6 tiles of 4 × 4 pixels")
    assert tiles.screenshot() == plain


def test_both_models_show_what_they_looked_at(visit: Visit) -> None:
    visit.page.get_by_label("Model").select_option(label="All, side by side")
    visit.page.get_by_label("Attention").select_option("rollout")
    visit.draw(SCHOOL.write(7))
    visit.answer()
    captions = visit.page.locator(".card figcaption")
    expect(captions.nth(1)).to_contain_text("layer 4 of 4")
    expect(captions.nth(0)).to_contain_text("layer 4 of 4")


def test_why_there_is_no_explanation_is_said(visit: Visit) -> None:
    refusal = {"error": "model 'digits-vit' gives no attention", "error_type": "bad_request"}
    visit.page.route("**/classify?*explain=*", lambda route: route.fulfill(status=400, json=refusal))
    visit.page.get_by_label("Attention").select_option("rollout")
    visit.draw(SCHOOL.write(7))
    assert visit.answer() in "0123456789"
    expect(visit.page.locator(".card figcaption")).to_have_text("model 'digits-vit' gives no attention")
    visit.expect_failed_requests()


def test_a_service_that_cannot_explain_is_not_asked_to(visit: Visit) -> None:
    def without(route: Route) -> None:
        document = route.fetch().json()
        document["paths"]["/classify"]["post"]["parameters"].clear()
        route.fulfill(json=document)

    visit.page.route("**/openapi.json", without)
    with visit.page.expect_response("**/openapi.json"):
        visit.open()
    expect(visit.page.locator("#attention")).to_be_hidden()
