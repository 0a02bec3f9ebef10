"""Headless Chromium, and page sessions that fail on errors reported by the browser."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, Route, sync_playwright

from . import pictures

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]

IMAGE: dict[str, Any] = {"name": "image.png", "type": "image/png", "bytes": pictures.encode(pictures.gradient())}
TEXT_FILE: dict[str, Any] = {"name": "text.jpg", "type": "image/jpeg", "bytes": b"This is text, not a JPEG."}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Context manager: the first Chromium on the `PATH`, or Playwright's own.

    Without a browser, tests are skipped, or fail if `TESSELLA_REQUIRE_BROWSER=1`.
    """
    with sync_playwright() as playwright:
        executable = next(filter(None, map(shutil.which, EXECUTABLES)), None) or playwright.chromium.executable_path
        if not os.path.exists(executable):
            reason = (
                f"no browser: none of {', '.join(EXECUTABLES)} is on the PATH, and Playwright has not installed its own"
            )
            if os.environ.get("TESSELLA_REQUIRE_BROWSER") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


STANDARDS = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


@dataclass
class PageSession:
    """Page object of the service's web pages.

    Attributes:
        errors: console errors and warnings, uncaught exceptions, requests to other origins.
    """

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", self._on_error)
        self.page.on("request", self._on_request)

    def close(self) -> None:
        self.page.remove_listener("console", self._on_console)
        self.page.remove_listener("pageerror", self._on_error)
        self.page.remove_listener("request", self._on_request)
        self.page.unroute_all(behavior="ignoreErrors")
        self.page.goto("about:blank")

    def _on_error(self, error: Error) -> None:
        self.errors.append(f"exception: {error}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "blob:")):
            self.errors.append(f"request to {request.url}")

    def open(self) -> "PageSession":
        """Open the Classify page and wait until it has the models."""
        self.page.goto(f"{self.url}/")
        self.page.wait_for_selector("#model:enabled")
        return self

    def go(self, path: str) -> Page:
        """Open another page of the service."""
        self.page.goto(f"{self.url}/{path}")
        return self.page

    def assert_accessible(self) -> None:
        """No violations of WCAG A or AA in the current state of the page, as far as axe can tell."""
        violations = Axe().run(self.page, options=STANDARDS).response["violations"]
        faults = [
            (fault["id"], node["target"], node["failureSummary"]) for fault in violations for node in fault["nodes"]
        ]
        assert faults == []

    def expect_failed_requests(self) -> None:
        """Ignore the browser's log messages of failed requests so far."""
        self.errors = [error for error in self.errors if "Failed to load resource" not in error]

    def draw(self, strokes: Sequence[Sequence[tuple[float, float]]], pen: float | None = None) -> None:
        """Draw strokes with the mouse; positions are in units of the drawing area, from the top left."""
        if pen is not None:
            self.page.locator("#pen").fill(str(pen))
        box = self.page.locator("#drawing").bounding_box()
        assert box
        mouse = self.page.mouse
        for stroke in strokes:
            points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
            mouse.move(*points[0])
            mouse.down()
            for point in points[1:]:
                mouse.move(*point)
            mouse.up()

    def result(self) -> str:
        """Top label on the first result card, once all results have arrived."""
        self.page.wait_for_selector("#page[data-state=done]")
        return self.page.locator(".card .label").first.inner_text()

    def drop(self, *files: dict[str, Any]) -> None:
        """Drop files, each with `name`, `type` and `bytes`, onto the page."""
        transfer = self.page.evaluate_handle(
            """(files) => {
                const transfer = new DataTransfer();
                for (const { name, type, bytes } of files)
                    transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
                return transfer;
            }""",
            [{**file, "bytes": list(file["bytes"])} for file in files],
        )
        for event in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event("body", event, {"dataTransfer": transfer})


@dataclass
class HeldRequests:
    """Classification requests that are held until the test answers them."""

    page: Page
    routes: list[Route] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.route("**/classify*", lambda route: self.routes.append(route))

    def next(self) -> Route:
        """The oldest request that has not been returned yet."""
        for _ in range(1500):
            if self.routes:
                return self.routes.pop(0)
            self.page.wait_for_timeout(20)
        raise AssertionError("no request within 30 s")


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    """One browser page for all tests of a module: opening one takes longer than most tests."""
    with chromium() as browser:
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write", "camera"])
        context.set_default_timeout(30_000)
        yield context.new_page()


@contextmanager
def open_session(browser_page: Page, url: str, theme: Any = "light") -> Iterator[PageSession]:
    """Context manager: a session with the service at `url`; fails on exit if the browser reported errors."""
    browser_page.set_viewport_size({"width": 1280, "height": 900})
    browser_page.emulate_media(color_scheme=theme, reduced_motion="no-preference")
    session = PageSession(browser_page, url)
    yield session
    session.close()
    assert session.errors == []


@pytest.fixture
def blank_session(browser_page: Page, service: str) -> Iterator[PageSession]:
    """Session with the service of the tests, no page opened."""
    with open_session(browser_page, service) as session:
        yield session


@pytest.fixture(params=["light"])
def session(browser_page: Page, service: str, request: pytest.FixtureRequest) -> Iterator[PageSession]:
    """Classify page, newly loaded, in a theme set by indirect parametrisation."""
    with open_session(browser_page, service, request.param) as session:
        yield session.open()


both_themes = pytest.mark.parametrize("session", ["light", "dark"], indirect=True)
