"""Takes the README's pictures of the demo page: `python -m tests.server.screenshots`, from the repository root."""

from pathlib import Path

from playwright.sync_api import Browser

from .browser import Visit, chromium
from .hand import ROUND, SCHOOL, Hand
from .live import served

FOLDER = Path(__file__).parent / "screenshots"
COMPARED = "All, side by side"


def main() -> None:
    with served() as url, chromium() as browser:
        take(browser, url, "demo-light", hand=SCHOOL, digit=2, theme="light")
        take(browser, url, "demo-dark", hand=ROUND, digit=4, theme="dark", models=COMPARED, height=960)
        take(browser, url, "demo-phone", hand=SCHOOL, digit=5, theme="light", width=390, height=844, scale=1.5)


def take(
    browser: Browser,
    url: str,
    name: str,
    *,
    hand: Hand,
    digit: int,
    theme: str,
    models: str | None = None,
    width: int = 1280,
    height: int = 900,
    scale: float = 1,
) -> None:
    """One visitor, one drawn digit, one picture."""
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light",
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        reduced_motion="reduce",
    )
    visit = Visit(context.new_page(), url).open()
    if models:
        visit.page.get_by_label("Model").select_option(label=models)
    visit.draw(hand.write(digit), hand.pen)
    visit.answer()  # the first answers of a new process are slow
    visit.page.locator("#clear").click()
    visit.draw(hand.write(digit), hand.pen)
    visit.page.locator("#pen").blur()
    print(name, "was read as", visit.answer())
    visit.page.mouse.move(2, 2)
    visit.page.screenshot(path=FOLDER / f"{name}.png")
    context.close()


if __name__ == "__main__":
    main()
