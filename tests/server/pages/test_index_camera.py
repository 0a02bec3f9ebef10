"""Camera of the Classify page, with Chromium's fake video device."""

import pytest
from playwright.sync_api import expect

from ...support.browser import PageSession, browser_page, session
from ...support.handwriting import SCHOOL

__all__ = ["browser_page", "session"]
pytestmark = pytest.mark.browser

DENIED = "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', '%s'); }; }"


def test_a_photo_is_taken_and_classified(session: PageSession) -> None:
    page = session.page
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Take photo").wait_for()
    expect(page.locator("#video")).to_be_visible()
    page.wait_for_timeout(100)
    session.assert_accessible()
    page.get_by_role("button", name="Take photo").click()
    assert session.result() in "0123456789"
    expect(page.locator("#video")).to_be_hidden()
    expect(page.locator("#preview")).to_have_attribute("alt", "camera.jpg")
    assert page.evaluate("document.querySelector('#video').srcObject") is None


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_the_camera_can_be_closed(session: PageSession, way: str) -> None:
    page = session.page
    page.get_by_role("button", name="Camera", exact=True).click()
    page.get_by_role("button", name="Take photo").wait_for()
    if way == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Close camera").click()
    expect(page.locator("#video")).to_be_hidden()
    expect(page.locator("#page")).to_have_attribute("data-state", "empty")


@pytest.mark.parametrize(("error", "message"), [("NotAllowedError", "denied access"), ("NotFoundError", "No camera")])
def test_camera_errors_are_shown(session: PageSession, error: str, message: str) -> None:
    session.page.evaluate(DENIED % error)
    session.page.get_by_role("button", name="Camera", exact=True).click()
    expect(session.page.get_by_role("alert")).to_contain_text(message)
    session.draw(SCHOOL.write(1))
    assert session.result() in "0123456789"
