"""Live page in a real browser."""

import httpx
import pytest
from playwright.sync_api import Page, expect

from ...support.browser import IMAGE, PageSession, browser_page, open_session
from ...support.browser import blank_session as session
from ...support.page_checks import PageTests, assert_fits_a_phone

__all__ = ["browser_page", "session"]
pytestmark = pytest.mark.browser


def test_requests_appear_in_numbers_and_charts(session: PageSession) -> None:
    page = session.go("ui/live")
    images = page.locator("#numbers > div", has_text="images").nth(1).locator(".value")
    expect(images).to_have_text("0")
    for _ in range(3):
        httpx.post(f"{session.url}/classify?model=digits-vit", files=[("image", IMAGE["bytes"])] * 4)
    expect(page.locator(".chart", has_text="Batch sizes").locator("rect")).not_to_have_count(0)
    assert page.locator(".chart", has_text="Latency").locator("path.line").count() == 2
    assert page.locator(".chart", has_text="Latency").locator("text").all_text_contents()[-1] == "0", "seconds ago"
    httpx.post(f"{session.url}/classify?model=digits-tnt", content=IMAGE["bytes"])
    page.get_by_label("Model").select_option("digits-tnt")
    expect(page.locator(".chart", has_text="Batch sizes").locator("rect")).to_have_count(1)
    requests: list[str] = []
    page.get_by_role("button", name="Pause").click()
    page.on("request", lambda request: requests.append(request.url))
    page.wait_for_timeout(1500)
    assert requests == []


def test_an_unreachable_service_is_reported(session: PageSession) -> None:
    page = session.go("ui/live")
    page.route("**/metrics", lambda route: route.abort("connectionrefused"))
    expect(page.get_by_role("alert")).to_contain_text("tessella serve")
    page.unroute_all()
    expect(page.locator("#notice")).to_be_hidden()
    session.expect_failed_requests()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible(browser_page: Page, service: str, theme: str) -> None:
    with open_session(browser_page, service, theme) as session:
        page = session.go("ui/live")
        page.locator(".value", has_not_text="–").first.wait_for()
        session.assert_accessible()
        assert_fits_a_phone(session)


class TestLivePage(PageTests):
    path, ready = "ui/live", "#model:enabled"
