"""Accessibility of the Classify page: contrast, names, keyboard, small screens, reduced motion, layout stability."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from ...support.browser import IMAGE, TEXT_FILE, PageSession, both_themes, browser_page, session
from ...support.handwriting import SCHOOL

__all__ = ["browser_page", "session"]
pytestmark = pytest.mark.browser

# All visible texts with their contrast and the contrast that WCAG AA requires.
TEXT_CONTRASTS = """() => {
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
UNNAMED = re.compile(r"^\s*- (button|link|combobox|slider|textbox|img|meter|region|article)(:|$)", re.MULTILINE)
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
    texts: list[dict[str, Any]] = page.evaluate(TEXT_CONTRASTS)
    assert len(texts) > 10
    assert [text for text in texts if text["contrast"] < text["needed"]] == []


def assert_named(page: Page) -> None:
    tree = page.locator("body").aria_snapshot()
    assert "button" in tree
    assert not UNNAMED.search(tree), tree


def visited_states(session: PageSession) -> Iterator[str]:
    """Bring the page into each of its states: empty, classified, failed, all models compared."""
    yield "empty"
    session.draw(SCHOOL.write(8))
    session.result()
    yield "classified"
    session.drop(IMAGE, TEXT_FILE)
    session.result()
    session.page.get_by_role("button", name="text.jpg").click()
    yield "failed"
    session.page.get_by_label("Model").select_option(label="All, side by side")
    session.result()
    yield "all models"


@both_themes
def test_text_is_legible_and_controls_have_names(session: PageSession) -> None:
    for _ in visited_states(session):
        assert_legible(session.page)
        assert_named(session.page)
        session.assert_accessible()


def test_the_notice_is_legible(session: PageSession) -> None:
    session.page.route("**/models", lambda route: route.abort("connectionrefused"))
    session.page.reload()
    session.page.get_by_role("alert").wait_for()
    assert_legible(session.page)
    assert_named(session.page)
    session.assert_accessible()
    session.expect_failed_requests()


def test_a_phone_needs_no_horizontal_scrolling(session: PageSession) -> None:
    session.page.set_viewport_size({"width": 360, "height": 740})
    for state in visited_states(session):
        assert session.page.evaluate(WIDTH) <= session.page.evaluate(VIEW_WIDTH), state


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_moves_when_results_arrive(session: PageSession, width: int) -> None:
    session.page.set_viewport_size({"width": width, "height": 900})
    blocks = "main > *, main section > *, .card > *, .headline, figure > *, .bars > *, .timings > *, dl > *, .command *"
    before = session.page.evaluate(BOXES, blocks)
    assert len(before) > 30
    session.draw(SCHOOL.write(0))
    session.result()
    assert session.page.evaluate(BOXES, blocks) == before
    in_card = session.page.evaluate(BOXES, ".card > *")
    session.drop(TEXT_FILE)
    session.result()
    assert session.page.evaluate(BOXES, ".card > *") == in_card
    session.expect_failed_requests()


def test_tab_reaches_every_control_with_a_visible_outline(session: PageSession) -> None:
    session.draw(SCHOOL.write(0))
    session.result()
    session.page.locator("#method").wait_for()
    controls = ["undo", "clear", "choose", "camera", "pen", "model", "method", "save", "copy", "curl"]
    expected = [*controls, "", "tessella", "Classify", "Models", "Benchmarks", "Live", "API"]
    reached = []
    for _ in expected:  # from the drawing area to the end of the page, then from its start
        session.page.keyboard.press("Tab")
        name, outline = session.page.evaluate(FOCUSED)
        assert outline >= 2 or not name, name
        reached.append(name)
    assert reached == expected


def test_reduced_motion_is_respected(session: PageSession) -> None:
    session.page.emulate_media(reduced_motion="reduce")
    animated = "[...document.querySelectorAll('*')].filter((node) => node.getAnimations().length > 0).length"
    session.draw(SCHOOL.write(0))
    session.result()
    session.page.locator("#clear").click()
    assert session.page.evaluate(animated) == 0
