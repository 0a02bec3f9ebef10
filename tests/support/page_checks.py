"""Checks that every web page must pass: keyboard, small screens, reduced motion, revalidation."""

from typing import ClassVar

import httpx
from playwright.sync_api import Page

from .browser import PageSession

PAGES = ("", "ui/models", "ui/benchmarks", "ui/live")
FOCUSABLE = """[...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")]
    .filter((node) => node.checkVisibility() && !node.disabled)"""
FOCUS = """(window.focused ??= new Set()).add(document.activeElement)
    && parseFloat(getComputedStyle(document.activeElement).outlineWidth)"""


def assert_fits_a_phone(session: PageSession) -> None:
    """No horizontal scrolling at a width of 360 pixels."""
    session.page.set_viewport_size({"width": 360, "height": 740})
    session.page.wait_for_timeout(300)  # charts are redrawn
    needed, available = session.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert needed <= available


def assert_reachable_by_keyboard(page: Page) -> None:
    """Tab reaches every control once, and shows an outline of at least 2 pixels."""
    expected = page.evaluate(f"{FOCUSABLE}.length")
    for _ in range(expected + 1):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS) >= 2 or page.evaluate("document.activeElement === document.body")
    missed = page.evaluate(f"{FOCUSABLE}.filter((node) => !window.focused.has(node)).map((node) => node.outerHTML)")
    assert not missed
    assert page.evaluate("[...window.focused].filter((node) => node !== document.body).length") == expected


def assert_no_animations(page: Page) -> None:
    assert page.evaluate("document.getAnimations().length") == 0


def assert_revalidated(url: str) -> None:
    """Browsers revalidate the page on every visit, and get it again only if it has changed."""
    first = httpx.get(url)
    assert first.headers["content-type"].startswith("text/html")
    assert first.headers["cache-control"] == "no-cache"
    assert httpx.get(url, headers={"if-none-match": first.headers["etag"]}).status_code == 304


class PageTests:
    """Tests of one page; a test file has a subclass with these attributes.

    Attributes:
        path: of the page, relative to the service.
        ready: selector that matches once the page has loaded its data.
    """

    path: ClassVar[str]
    ready: ClassVar[str]

    def test_tab_reaches_every_control(self, session: PageSession) -> None:
        page = session.go(self.path)
        page.wait_for_selector(self.ready)
        assert_reachable_by_keyboard(page)

    def test_reduced_motion_is_respected(self, session: PageSession) -> None:
        session.page.emulate_media(reduced_motion="reduce")
        page = session.go(self.path)
        page.wait_for_selector(self.ready)
        page.wait_for_timeout(1200)  # the live page is updated every second
        assert_no_animations(page)

    def test_the_page_is_revalidated(self, service: str) -> None:
        assert_revalidated(f"{service}/{self.path}")
