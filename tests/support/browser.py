"""A headless Chromium, and a visit to the page that notices every complaint of the browser."""

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

NAMES = ("chromium", "chromium-browser", "google-chrome")
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

PICTURE: dict[str, Any] = {"name": "picture.png", "type": "image/png", "bytes": pictures.encode(pictures.gradient())}
TEXT: dict[str, Any] = {"name": "text.jpg", "type": "image/jpeg", "bytes": b"I am a text, whatever my name says."}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The first Chromium on the path, else playwright's own; without any the test is skipped, or fails where
    `TESSELLA_REQUIRE_BROWSER=1` says that there must be one."""
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, NAMES)), None) or playwright.chromium.executable_path
        if not os.path.exists(found):
            reason = f"no browser: none of {', '.join(NAMES)} is on the path, and playwright has not installed its own"
            if os.environ.get("TESSELLA_REQUIRE_BROWSER") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


STANDARDS = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


@dataclass
class Visit:
    """A page, open. `complaints`: console errors, uncaught exceptions, requests that leave the origin."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", self._on_error)
        self.page.on("request", self._on_request)

    def leave(self) -> None:
        self.page.remove_listener("console", self._on_console)
        self.page.remove_listener("pageerror", self._on_error)
        self.page.remove_listener("request", self._on_request)
        self.page.unroute_all(behavior="ignoreErrors")
        self.page.goto("about:blank")

    def _on_error(self, error: Error) -> None:
        self.complaints.append(f"exception: {error}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "blob:")):
            self.complaints.append(f"request to {request.url}")

    def open(self) -> "Visit":
        """Goes to the page and waits until it knows the models."""
        self.page.goto(f"{self.url}/")
        self.page.wait_for_selector("#model:enabled")
        return self

    def go(self, path: str) -> Page:
        """Goes to another page of the service."""
        self.page.goto(f"{self.url}/{path}")
        return self.page

    def assert_accessible(self) -> None:
        """axe finds nothing that WCAG A or AA forbids in what the page shows now."""
        found = Axe().run(self.page, options=STANDARDS).response["violations"]
        faults = [(fault["id"], node["target"], node["failureSummary"]) for fault in found for node in fault["nodes"]]
        assert faults == []

    def expect_failed_requests(self) -> None:
        """The browser itself logs every request that fails; where a test makes them fail that is no complaint."""
        self.complaints = [text for text in self.complaints if "Failed to load resource" not in text]

    def draw(self, strokes: Sequence[Sequence[tuple[float, float]]], pen: float | None = None) -> None:
        """Moves the mouse over the sheet; positions are in units of it."""
        if pen is not None:
            self.page.locator("#pen").fill(str(pen))
        box = self.page.locator("#paper").bounding_box()
        assert box
        mouse = self.page.mouse
        for stroke in strokes:
            places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
            mouse.move(*places[0])
            mouse.down()
            for place in places[1:]:
                mouse.move(*place)
            mouse.up()

    def answer(self) -> str:
        """What the page says, once it has nothing more to wait for."""
        self.page.wait_for_selector("#page[data-state=answered]")
        return self.page.locator(".card .label").first.inner_text()

    def drop(self, *files: dict[str, Any]) -> None:
        """Files fall onto the page. Each: `name`, `type`, `bytes`."""
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
class Held:
    """Classification requests that a test lets go on when it likes."""

    page: Page
    routes: list[Route] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.route("**/classify*", lambda route: self.routes.append(route))

    def next(self) -> Route:
        """The oldest request that was not handed out yet."""
        for _ in range(1500):
            if self.routes:
                return self.routes.pop(0)
            self.page.wait_for_timeout(20)
        raise AssertionError("no request came within 30 s")


@pytest.fixture(scope="module")
def window() -> Iterator[Page]:
    """One window for all tests of a module: opening one takes longer than most of them."""
    with chromium() as browser:
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write", "camera"])
        context.set_default_timeout(30_000)
        yield context.new_page()


@contextmanager
def visiting(window: Page, url: str, theme: Any = "light") -> Iterator[Visit]:
    """A visit of this service; nothing may be complained about in the end."""
    window.set_viewport_size({"width": 1280, "height": 900})
    window.emulate_media(color_scheme=theme, reduced_motion="no-preference")
    visit = Visit(window, url)
    yield visit
    visit.leave()
    assert visit.complaints == []


@pytest.fixture(params=["light"])
def visit(window: Page, service: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """The page Classify, newly loaded, in the theme that the test asks for."""
    with visiting(window, service, request.param) as visit:
        yield visit.open()


both_themes = pytest.mark.parametrize("visit", ["light", "dark"], indirect=True)
