"""The demo page for everybody: by keyboard, by screen reader, on a phone, in both themes, and calm."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page

from ...support.browser import PICTURE, TEXT, Visit, both_themes, visit, window
from ...support.handwriting import SCHOOL

__all__ = ["visit", "window"]
pytestmark = pytest.mark.browser

# Every visible piece of text: what it says, its contrast against what lies behind it, and how much WCAG AA asks for.
CONTRASTS = """() => {
    const parse = (colour) => {
        const parts = colour.match(/[\\d.]+/g).map(Number);
        return colour.startsWith("color(") ? parts.slice(0, 3).map((part) => 255 * part).concat(parts[3] ?? 1)
                                           : [...parts, 1].slice(0, 4);
    };
    const over = (top, below) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
    const behind = (node) => {
        if (!node) return [255, 255, 255, 1];
        const colour = parse(getComputedStyle(node).backgroundColor);
        return colour[3] === 1 ? colour : over(colour, behind(node.parentElement));
    };
    const luminance = (colour) => {
        const [r, g, b] = colour.slice(0, 3).map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        const text = walker.currentNode.textContent.trim();
        if (!text || !node.checkVisibility() || node.closest("script, noscript, .visually-hidden")) continue;
        const style = getComputedStyle(node);
        const ground = behind(node);
        const ink = luminance(over(parse(style.color), ground));
        const paper = luminance(ground);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        found.push({
            text,
            contrast: (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05),
            needed: large ? 3 : 4.5,
        });
    }
    return found;
}"""
NAMELESS = re.compile(r"^\s*- (button|link|combobox|slider|textbox|img|meter|region|article)(:|$)", re.MULTILINE)
BOXES = """(blocks) => [...document.querySelectorAll(blocks)].map((node) => {
    const { top, left, height } = node.getBoundingClientRect();
    return [node.className || node.id || node.tagName, top, left, height];
})"""
FOCUSED = """() => {
    const node = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(node);
    const name = node === document.body ? "" : node.id || node.textContent.trim();
    return [name, outlineStyle === "none" ? 0 : parseFloat(outlineWidth)];
}"""
WIDTH, VIEW_WIDTH = "document.documentElement.scrollWidth", "innerWidth"


def assert_legible(page: Page) -> None:
    texts: list[dict[str, Any]] = page.evaluate(CONTRASTS)
    assert len(texts) > 10
    assert [text for text in texts if text["contrast"] < text["needed"]] == []


def assert_named(page: Page) -> None:
    tree = page.locator("body").aria_snapshot()
    assert "button" in tree
    assert not NAMELESS.search(tree), tree


def through_its_states(visit: Visit) -> Any:
    """Empty, answered, several files with one broken, all models side by side: stops at each."""
    yield "empty"
    visit.draw(SCHOOL.write(8))
    visit.answer()
    yield "answered"
    visit.drop(PICTURE, TEXT)
    visit.answer()
    visit.page.get_by_role("button", name="text.jpg").click()
    yield "failed"
    visit.page.get_by_label("Model").select_option(label="All, side by side")
    visit.answer()
    yield "side by side"


@both_themes
def test_text_is_legible_and_controls_have_names(visit: Visit) -> None:
    for _ in through_its_states(visit):
        assert_legible(visit.page)
        assert_named(visit.page)
        visit.assert_accessible()


def test_the_notice_is_legible(visit: Visit) -> None:
    visit.page.route("**/models", lambda route: route.abort("connectionrefused"))
    visit.page.reload()
    visit.page.get_by_role("alert").wait_for()
    assert_legible(visit.page)
    assert_named(visit.page)
    visit.assert_accessible()
    visit.expect_failed_requests()


def test_a_phone_shows_everything_without_sideways_scrolling(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    for state in through_its_states(visit):
        assert visit.page.evaluate(WIDTH) <= visit.page.evaluate(VIEW_WIDTH), state


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_moves_when_the_answer_arrives(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 900})
    blocks = "main > *, main section > *, .card > *, .verdict, figure > *, .bars > *, .timings > *, dl > *, .command *"
    before = visit.page.evaluate(BOXES, blocks)
    assert len(before) > 30
    visit.draw(SCHOOL.write(0))
    visit.answer()
    assert visit.page.evaluate(BOXES, blocks) == before
    in_card = visit.page.evaluate(BOXES, ".card > *")
    visit.drop(TEXT)
    visit.answer()
    assert visit.page.evaluate(BOXES, ".card > *") == in_card
    visit.expect_failed_requests()


def test_everything_is_reached_by_keyboard_and_seen_to_be(visit: Visit) -> None:
    visit.draw(SCHOOL.write(0))
    visit.answer()
    visit.page.locator("#method").wait_for()
    here = ["undo", "clear", "choose", "camera", "pen", "model", "method", "save", "copy", "curl"]
    expected = [*here, "", "tessella", "Classify", "Models", "Benchmarks", "Live", "API"]
    reached = []
    for _ in expected:  # from the sheet to the end, out of the page, and in again from its start
        visit.page.keyboard.press("Tab")
        name, outline = visit.page.evaluate(FOCUSED)
        assert outline >= 2 or not name, name
        reached.append(name)
    assert reached == expected


def test_who_asks_for_less_motion_gets_none(visit: Visit) -> None:
    visit.page.emulate_media(reduced_motion="reduce")
    moving = "[...document.querySelectorAll('*')].filter((node) => node.getAnimations().length > 0).length"
    visit.draw(SCHOOL.write(0))
    visit.answer()
    visit.page.locator("#clear").click()
    assert visit.page.evaluate(moving) == 0
