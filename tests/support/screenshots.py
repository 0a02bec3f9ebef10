"""Screenshots of the web pages for the documentation: `python -m tests.support.screenshots`, in the root."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page

from . import pictures
from .browser import PageSession, chromium
from .handwriting import ROUND, SCHOOL, Hand
from .live import served

FOLDER = Path(__file__).parents[2] / "docs" / "images"
PALETTE_SIZE = 128
LOAD_SECONDS = 40
Theme = Literal["light", "dark"]


def main() -> None:
    with served("--dtype", "float32") as url, chromium() as browser:
        take(browser, url, "classify-light", "light", lambda session: classify(session, SCHOOL, 2, compare=True))
        take(browser, url, "classify-dark", "dark", lambda session: classify(session, ROUND, 4))
        take(
            browser, url, "classify-phone", "light", lambda session: classify(session, SCHOOL, 5), width=390, height=844
        )
        take(browser, url, "models-light", "light", models)
        take(browser, url, "benchmarks-light", "light", benchmarks)
        with load(url):
            take(browser, url, "live-dark", "dark", live)


def take(
    browser: Browser,
    url: str,
    name: str,
    theme: Theme,
    steps: Callable[[PageSession], None],
    width: int = 1280,
    height: int = 900,
) -> None:
    """Take a screenshot after the steps, in a browser context of its own."""
    context = browser.new_context(
        color_scheme=theme,
        viewport={"width": width, "height": height},
        device_scale_factor=1.5 if width < 600 else 1,
        reduced_motion="reduce",
    )
    page = context.new_page()
    steps(PageSession(page, url))
    page.mouse.move(2, 2)
    file = FOLDER / f"{name}.png"
    page.screenshot(path=file, full_page=width > 600)
    Image.open(file).convert("RGB").quantize(PALETTE_SIZE, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{name}: {file.stat().st_size / 1000:.0f} kB")
    context.close()


def classify(session: PageSession, hand: Hand, digit: int, *, compare: bool = False) -> None:
    """Draw a digit; `compare`: classify it with both models and show their attention maps."""
    page = session.open().page
    if compare:
        page.get_by_label("Model").select_option(label="All, side by side")
        page.get_by_label("Attention").select_option("attention")
    session.draw(hand.write(digit), hand.pen)
    session.result()  # the first results of a new process are slow
    page.locator("#clear").click()
    session.draw(hand.write(digit), hand.pen)
    print(f"{digit} was classified as", session.result())
    page.locator("#pen").blur()
    if compare:
        page.locator("figcaption", has_text="layer").nth(1).wait_for()


def models(session: PageSession) -> None:
    page = session.go("ui/models")
    page.get_by_text("Preprocessing").first.click()
    page.get_by_text("Labels").nth(1).click()


def benchmarks(session: PageSession) -> None:
    """Run a benchmark of each model, and compare them."""
    for name in ("digits-tnt", "digits-vit"):
        page = session.go("ui/benchmarks")
        page.get_by_label("Model", exact=True).select_option(name)
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("#page[data-state=running]")
        page.wait_for_selector("#page[data-state=idle]", timeout=120_000)
    page.get_by_label("Compare with").select_option(index=2)


def live(session: PageSession) -> None:
    page: Page = session.go("ui/live")
    page.wait_for_timeout(LOAD_SECONDS * 1000)


@contextmanager
def load(url: str) -> Iterator[None]:
    """Context manager: three clients that send requests in different intervals."""
    image = pictures.encode(pictures.gradient())
    stopped = threading.Event()

    def send(client: int) -> None:
        with httpx.Client(base_url=url) as connection:
            count = 0
            while not stopped.wait(0.03 + 0.02 * client):
                count += 1
                connection.post("/classify", files=[("image", image)] * (1 + count // 40 % (2 + 3 * client)))

    threads = [threading.Thread(target=send, args=(client,)) for client in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
