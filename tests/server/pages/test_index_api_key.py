"""API key form, which the Classify page shares with the other pages."""

import pytest
from playwright.sync_api import Page, expect

from tessella.server.settings import Settings

from ...support.browser import IMAGE, browser_page, open_session
from ...support.gated_runner import GatedRunner
from ...support.live import gated
from ...support.page_checks import PAGES

__all__ = ["browser_page"]
pytestmark = pytest.mark.browser


def test_a_required_api_key_is_entered_once_for_all_pages(browser_page: Page) -> None:
    with (
        gated(GatedRunner(), Settings(model=("gated",), api_key=("red",), max_batch_size=8)) as live,
        open_session(browser_page, live.url) as session,
    ):
        for path in ("", "ui/models", "ui/benchmarks"):
            page = session.go(path)
            page.get_by_label("API key").wait_for()
        page.get_by_label("API key").fill("blue")
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("form.key")).to_contain_text("Invalid API key")
        session.assert_accessible()
        page.get_by_label("API key").fill("red")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Start")).to_be_enabled()
        expect(page.get_by_label("Batch sizes")).to_have_value("1, 2, 4, 8")
        for path in PAGES:
            page = session.go(path)
            page.wait_for_load_state("networkidle")
            expect(page.locator("form.key")).to_be_hidden()
        page = session.open().page
        page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": IMAGE["bytes"]})
        assert session.result().startswith("red ")
        assert '-H "x-api-key: $KEY"' in page.locator("#curl").inner_text()
        assert page.evaluate("sessionStorage.length") == 1
        page.evaluate("sessionStorage.clear()")
        session.expect_failed_requests()
