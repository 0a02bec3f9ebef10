"""The demo page in a real browser: images drawn, dropped, pasted and chosen, and everything that can go wrong."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from ...support import pictures
from ...support.browser import PICTURE, TEXT, Held, Visit, both_themes, visit, window
from ...support.handwriting import HANDS, SCHOOL

__all__ = ["visit", "window"]
pytestmark = pytest.mark.browser


def chosen(file: dict[str, Any]) -> Any:
    """A file as playwright's file chooser takes it."""
    return {"name": file["name"], "mimeType": file["type"], "buffer": file["bytes"]}


def test_three_hands_are_read(visit: Visit) -> None:
    misses = []
    for hand in HANDS:
        for digit in range(10):
            visit.draw(hand.write(digit), hand.pen)
            if (answer := visit.answer()) != str(digit):
                misses.append(f"{hand.name} {digit} was read as {answer}")
            visit.page.locator("#clear").click()
    print(f"{30 - len(misses)} of 30 right; missed:", *(misses or ["none"]), sep="\n  ")
    assert len(misses) <= 3, misses


@both_themes
def test_what_is_seen_is_what_is_sent(visit: Visit) -> None:
    visit.draw(SCHOOL.write(2), SCHOOL.pen)
    visit.answer()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Save drawing").click()
    image = Image.open(download.value.path())
    seen = Image.open(io.BytesIO(visit.page.locator("#paper").screenshot())).convert("RGB").resize(image.size)
    assert np.asarray(image.convert("RGBA"))[..., 3].min() == 255
    difference = np.abs(np.asarray(image.convert("RGB"), np.int16) - np.asarray(seen, np.int16))
    middle = slice(20, -20)  # the sheet's corners are round
    assert difference[middle, middle].mean() < 2
    dark_ground = np.asarray(image.convert("L"))[5, image.width // 2] < 128
    assert dark_ground == visit.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert np.asarray(image.convert("L")).std() > 30


def assert_alike(one: bytes, other: bytes) -> None:
    """Two pictures of one thing: a rounded corner may come out a shade lighter."""
    first, second = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int16) for png in (one, other))
    assert np.abs(first - second).max() <= 3


def test_undo_and_clear(visit: Visit) -> None:
    undo, clear, paper = (visit.page.locator(f"#{name}") for name in ("undo", "clear", "paper"))
    empty = paper.screenshot()
    assert undo.is_disabled()
    assert clear.is_disabled()
    visit.draw([[(0.3, 0.3), (0.7, 0.3)]])
    visit.answer()
    one_stroke = paper.screenshot()
    visit.draw([[(0.3, 0.6), (0.7, 0.6)]])
    visit.page.keyboard.press("Control+z")
    visit.answer()
    assert_alike(paper.screenshot(), one_stroke)
    clear.click()
    visit.page.wait_for_selector("#page[data-state=empty]")
    assert visit.page.locator("#invitation").is_visible()
    undo.click()
    visit.answer()
    assert_alike(paper.screenshot(), one_stroke)
    assert one_stroke != empty


def test_a_touch_of_the_pen_is_a_dot(visit: Visit) -> None:
    empty = np.asarray(Image.open(io.BytesIO(visit.page.locator("#paper").screenshot())))
    visit.draw([[(0.5, 0.5)]], pen=10)
    visit.answer()
    dot = np.asarray(Image.open(io.BytesIO(visit.page.locator("#paper").screenshot())))
    assert (empty[: len(empty) // 3] == dot[: len(dot) // 3]).mean() > 0.99
    assert dot[len(dot) // 2, len(dot) // 2].max() < 80


def test_a_chosen_file_gets_an_answer(visit: Visit) -> None:
    visit.page.set_input_files("#files", chosen(PICTURE))
    assert visit.answer() in "0123456789"
    assert visit.page.locator("#picture").is_visible()
    visit.page.locator("#clear").click()
    assert visit.page.locator("#invitation").is_visible()


def test_a_pasted_image_gets_an_answer(visit: Visit) -> None:
    visit.page.evaluate(
        """(bytes) => navigator.clipboard.write([
            new ClipboardItem({ "image/png": new Blob([new Uint8Array(bytes)], { type: "image/png" }) }),
        ])""",
        list(PICTURE["bytes"]),
    )
    visit.page.keyboard.press("Control+v")
    assert visit.answer() in "0123456789"


def test_a_dropped_image_gets_an_answer(visit: Visit) -> None:
    visit.drop(PICTURE)
    assert visit.answer() in "0123456789"
    assert visit.page.locator("#drop").is_hidden()


def test_several_files_have_each_their_own_answer_or_error(visit: Visit) -> None:
    visit.drop(PICTURE, TEXT, {**PICTURE, "name": "again.png"})
    visit.answer()
    first, second, third = visit.page.locator("#gallery button .answer").all_inner_texts()
    assert first == third
    assert first[0] in "0123456789"
    assert "No answer" in second
    visit.page.get_by_role("button", name="text.jpg").click()
    expect(visit.page.locator(".card .detail")).to_contain_text("not an image")
    visit.page.get_by_role("button", name="again.png").click()
    expect(visit.page.locator(".card .label")).to_have_text(first[0])


def test_many_files_are_sent_in_several_requests(visit: Visit) -> None:
    sent = []
    visit.page.on("request", lambda request: sent.append(request.url) if "/classify" in request.url else None)
    visit.page.set_input_files("#files", [chosen({**PICTURE, "name": f"{i}.png"}) for i in range(40)])
    visit.answer()
    assert len(sent) == 3
    assert "…" not in visit.page.locator("#gallery .answer").all_inner_texts()


def test_a_text_named_jpg_shows_the_servers_message_and_the_page_goes_on(visit: Visit) -> None:
    visit.page.set_input_files("#files", chosen(TEXT))
    visit.answer()
    assert "not an image" in visit.page.locator(".card .detail").inner_text()
    assert visit.page.locator(".card[data-state=failed]").is_visible()
    visit.expect_failed_requests()
    visit.page.locator("#clear").click()
    visit.draw(SCHOOL.write(1))
    assert visit.answer() in "0123456789"


def test_an_image_with_too_many_pixels_says_so(visit: Visit) -> None:
    visit.drop({"name": "huge.png", "type": "image/png", "bytes": pictures.huge_header()})
    assert visit.answer() == "Too large"
    assert "pixels" in visit.page.locator(".card .detail").inner_text()
    visit.expect_failed_requests()


def test_a_late_answer_never_replaces_a_newer_one(visit: Visit) -> None:
    held = Held(visit.page)
    visit.draw([[(0.3, 0.3), (0.7, 0.3)]])
    older = held.next()
    visit.draw([[(0.3, 0.6), (0.7, 0.6)]])
    newer = held.next()
    newer.fulfill(json=_answer("newer"))
    assert visit.answer() == "newer"
    older.fulfill(json=_answer("older"))
    visit.page.wait_for_timeout(200)
    assert visit.answer() == "newer"
    visit.expect_failed_requests()


def _answer(label: str) -> dict[str, Any]:
    return {
        "id": "1",
        "model": "digits-vit",
        "results": [{"predictions": [{"label": label, "index": 0, "score": 0.9}]}],
        "batch_sizes": [1],
        "timings_ms": {"decode": 1, "queue": 0, "inference": 2, "total": 4},
    }


def test_an_unreachable_server_is_said_and_the_answer_comes_when_it_is_back(visit: Visit) -> None:
    visit.page.route("**/*", lambda route: route.abort("connectionrefused"))
    visit.draw(SCHOOL.write(3))
    assert visit.answer() == "The server does not answer"
    visit.page.get_by_role("alert").get_by_role("button", name="Try again").wait_for()
    assert "tessella serve" in visit.page.get_by_role("alert").inner_text()
    visit.page.unroute_all()
    visit.page.wait_for_selector(".card[data-state=answered]")
    assert visit.page.locator("#notice").is_hidden()
    visit.expect_failed_requests()


def test_while_the_models_load_the_page_says_so_and_waits(visit: Visit) -> None:
    loading = {"default": "a", "models": [{"name": "a", "state": "loading"}, {"name": "b", "state": "loading"}]}
    visit.page.route("**/models", lambda route: route.fulfill(json=loading))
    visit.page.goto(f"{visit.url}/")
    assert "loading" in visit.page.get_by_role("alert").inner_text()
    visit.draw(SCHOOL.write(4))
    visit.page.unroute_all()
    assert visit.answer() in "0123456789"
    assert visit.page.locator("#notice").is_hidden()


def test_models_side_by_side(visit: Visit) -> None:
    visit.draw(SCHOOL.write(5))
    visit.answer()
    visit.page.get_by_label("Model").select_option(label="All, side by side")
    visit.answer()
    names = visit.page.locator(".card .model").all_inner_texts()
    assert names == ["digits-vit", "digits-tnt"]
    assert all(label in "0123456789" for label in visit.page.locator(".card .label").all_inner_texts())


def test_the_command_is_the_same_question(visit: Visit) -> None:
    visit.draw(SCHOOL.write(6))
    visit.answer()
    command = visit.page.locator("#curl").inner_text()
    assert command == (
        f"curl --data-binary @drawing.png -H 'content-type: image/png' '{visit.url}/classify?model=digits-vit&top_k=5'"
    )
    visit.page.get_by_role("button", name="Copy").click()
    visit.page.get_by_role("button", name="Copied").wait_for()
    assert visit.page.evaluate("navigator.clipboard.readText()") == command
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Save drawing").click()
    assert download.value.suggested_filename == "drawing.png"
