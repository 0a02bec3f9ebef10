"""Takes the pictures of the pages for `docs/`: `python -m tests.support.screenshots`, from the repository root."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page

from . import pictures
from .browser import Visit, chromium
from .handwriting import ROUND, SCHOOL, Hand
from .live import served

FOLDER = Path(__file__).parents[2] / "docs" / "images"
COLOURS = 128
SECONDS_OF_LOAD = 40
Theme = Literal["light", "dark"]


def main() -> None:
    with served("--dtype", "float32") as url, chromium() as browser:
        take(browser, url, "classify-light", "light", lambda visit: classify(visit, SCHOOL, 2, beside=True))
        take(browser, url, "classify-dark", "dark", lambda visit: classify(visit, ROUND, 4))
        take(browser, url, "classify-phone", "light", lambda visit: classify(visit, SCHOOL, 5), width=390, height=844)
        take(browser, url, "models-light", "light", models)
        take(browser, url, "benchmarks-light", "light", benchmarks)
        with load(url):
            take(browser, url, "live-dark", "dark", live)


def take(
    browser: Browser,
    url: str,
    name: str,
    theme: Theme,
    act: Callable[[Visit], None],
    width: int = 1280,
    height: int = 900,
) -> None:
    """One visitor, one picture."""
    context = browser.new_context(
        color_scheme=theme,
        viewport={"width": width, "height": height},
        device_scale_factor=1.5 if width < 600 else 1,
        reduced_motion="reduce",
    )
    page = context.new_page()
    act(Visit(page, url))
    page.mouse.move(2, 2)
    file = FOLDER / f"{name}.png"
    page.screenshot(path=file, full_page=width > 600)
    Image.open(file).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{name}: {file.stat().st_size / 1000:.0f} kB")
    context.close()


def classify(visit: Visit, hand: Hand, digit: int, *, beside: bool = False) -> None:
    """A drawn digit; `beside`: read by both models, with what they looked at."""
    page = visit.open().page
    if beside:
        page.get_by_label("Model").select_option(label="All, side by side")
        page.get_by_label("Attention").select_option("attention")
    visit.draw(hand.write(digit), hand.pen)
    visit.answer()  # the first answers of a new process are slow
    page.locator("#clear").click()
    visit.draw(hand.write(digit), hand.pen)
    print(f"{digit} was read as", visit.answer())
    page.locator("#pen").blur()
    if beside:
        page.locator("figcaption", has_text="layer").nth(1).wait_for()


def models(visit: Visit) -> None:
    page = visit.go("ui/models")
    page.get_by_text("Preprocessing").first.click()
    page.get_by_text("Labels").nth(1).click()


def benchmarks(visit: Visit) -> None:
    """A run of each model, compared."""
    for name in ("digits-tnt", "digits-vit"):
        page = visit.go("ui/benchmarks")
        page.get_by_label("Model", exact=True).select_option(name)
        page.get_by_role("button", name="Start").click()
        page.wait_for_selector("#page[data-state=running]")
        page.wait_for_selector("#page[data-state=idle]", timeout=120_000)
    page.get_by_label("Compare with").select_option(index=2)


def live(visit: Visit) -> None:
    page: Page = visit.go("ui/live")
    page.wait_for_timeout(SECONDS_OF_LOAD * 1000)


@contextmanager
def load(url: str) -> Iterator[None]:
    """Three clients, each with a rhythm of its own."""
    image = pictures.encode(pictures.gradient())
    over = threading.Event()

    def send(client: int) -> None:
        with httpx.Client(base_url=url) as connection:
            turn = 0
            while not over.wait(0.03 + 0.02 * client):
                turn += 1
                connection.post("/classify", files=[("image", image)] * (1 + turn // 40 % (2 + 3 * client)))

    threads = [threading.Thread(target=send, args=(client,)) for client in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
