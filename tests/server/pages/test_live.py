"""Live page in a real browser."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from ...support.browser import IMAGE, PageSession, browser_page, open_session
from ...support.page_checks import (
    assert_fits_a_phone,
    assert_no_animations,
    assert_reachable_by_keyboard,
    assert_revalidated,
)

__all__ = ["browser_page"]
pytestmark = pytest.mark.browser


@pytest.fixture
def session(browser_page: Page, service: str) -> Iterator[PageSession]:
    with open_session(browser_page, service) as session:
        yield session


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


def test_tab_reaches_every_control(session: PageSession) -> None:
    page = session.go("ui/live")
    page.wait_for_selector("#model:enabled")
    assert_reachable_by_keyboard(page)


def test_reduced_motion_is_respected(session: PageSession) -> None:
    session.page.emulate_media(reduced_motion="reduce")
    page = session.go("ui/live")
    page.wait_for_timeout(1200)  # it polls, so that the network is never idle
    assert_no_animations(page)


def test_the_page_is_revalidated(service: str) -> None:
    assert_revalidated(f"{service}/ui/live")
