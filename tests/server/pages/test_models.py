"""Models page in a real browser."""

import pytest
from playwright.sync_api import Page, expect

from ...support.browser import PageSession, browser_page, open_session
from ...support.browser import blank_session as session
from ...support.page_checks import PageTests, assert_fits_a_phone

__all__ = ["browser_page", "session"]
pytestmark = pytest.mark.browser


def test_models_are_described(session: PageSession) -> None:
    page = session.go("ui/models")
    vit, tnt = page.get_by_role("article").all()
    for text in ("digits-vit", "ready", "default", "Vision Transformer", "6 × 6 of 4 × 4 pixels", "cpu"):
        expect(vit).to_contain_text(text)
    expect(tnt).to_contain_text("each with 4 × 4 sub-patches")
    tnt.get_by_text("Labels (10)").click()
    expect(tnt.get_by_role("listitem")).to_have_count(10)
    expect(page.locator("#status")).to_have_text("2 models, all ready.")


def test_states_of_models_are_shown_and_updated(session: PageSession) -> None:
    models = [{"name": "a", "state": "loading"}, {"name": "b", "state": "failed"}]
    session.page.route(f"{session.url}/models", lambda route: route.fulfill(json={"default": "a", "models": models}))
    page = session.go("ui/models")
    expect(page.locator(".state")).to_have_text(["loading", "failed"])
    session.assert_accessible()
    page.unroute_all()
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_role("article").first).to_contain_text("digits-vit")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible(browser_page: Page, service: str, theme: str) -> None:
    with open_session(browser_page, service, theme) as session:
        page = session.go("ui/models")
        page.get_by_role("article").first.wait_for()
        for summary in page.locator("summary").all():
            summary.click()
        session.assert_accessible()
        assert_fits_a_phone(session)


class TestModelsPage(PageTests):
    path, ready = "ui/models", "#models article"
