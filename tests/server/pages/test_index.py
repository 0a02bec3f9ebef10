"""Classify page in a real browser: images drawn, dropped, pasted and chosen, models compared, and errors."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from ...support import pictures
from ...support.browser import IMAGE, TEXT_FILE, HeldRequests, PageSession, both_themes, browser_page, session
from ...support.handwriting import HANDS, SCHOOL
from ...support.page_checks import assert_revalidated

__all__ = ["browser_page", "session"]
pytestmark = pytest.mark.browser


def upload(file: dict[str, Any]) -> Any:
    """A file in the form of Playwright's `set_input_files`."""
    return {"name": file["name"], "mimeType": file["type"], "buffer": file["bytes"]}


def test_handwritten_digits_are_classified(session: PageSession) -> None:
    errors = []
    for hand in HANDS:
        for digit in range(10):
            session.draw(hand.write(digit), hand.pen)
            if (label := session.result()) != str(digit):
                errors.append(f"{hand.name} {digit} was classified as {label}")
            session.page.locator("#clear").click()
    print(f"{30 - len(errors)} of 30 correct; errors:", *(errors or ["none"]), sep="\n  ")
    assert len(errors) <= 3, errors


@both_themes
def test_the_drawing_is_sent_as_it_is_shown(session: PageSession) -> None:
    session.draw(SCHOOL.write(2), SCHOOL.pen)
    session.result()
    with session.page.expect_download() as download:
        session.page.get_by_role("button", name="Save drawing").click()
    image = Image.open(download.value.path())
    shown = Image.open(io.BytesIO(session.page.locator("#drawing").screenshot())).convert("RGB").resize(image.size)
    assert np.asarray(image.convert("RGBA"))[..., 3].min() == 255
    difference = np.abs(np.asarray(image.convert("RGB"), np.int16) - np.asarray(shown, np.int16))
    middle = slice(20, -20)  # the corners of the drawing area are round
    assert difference[middle, middle].mean() < 2
    dark_background = np.asarray(image.convert("L"))[5, image.width // 2] < 128
    assert dark_background == session.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert np.asarray(image.convert("L")).std() > 30


def assert_similar(one: bytes, other: bytes) -> None:
    """Two screenshots of the same drawing: rounded corners may differ by a shade."""
    first, second = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int16) for png in (one, other))
    assert np.abs(first - second).max() <= 3


def test_undo_and_clear(session: PageSession) -> None:
    undo, clear, canvas = (session.page.locator(f"#{name}") for name in ("undo", "clear", "drawing"))
    empty = canvas.screenshot()
    assert undo.is_disabled()
    assert clear.is_disabled()
    session.draw([[(0.3, 0.3), (0.7, 0.3)]])
    session.result()
    one_stroke = canvas.screenshot()
    session.draw([[(0.3, 0.6), (0.7, 0.6)]])
    session.page.keyboard.press("Control+z")
    session.result()
    assert_similar(canvas.screenshot(), one_stroke)
    clear.click()
    session.page.wait_for_selector("#page[data-state=empty]")
    assert session.page.locator("#placeholder").is_visible()
    undo.click()
    session.result()
    assert_similar(canvas.screenshot(), one_stroke)
    assert one_stroke != empty


def test_a_click_draws_a_dot(session: PageSession) -> None:
    empty = np.asarray(Image.open(io.BytesIO(session.page.locator("#drawing").screenshot())))
    session.draw([[(0.5, 0.5)]], pen=10)
    session.result()
    dot = np.asarray(Image.open(io.BytesIO(session.page.locator("#drawing").screenshot())))
    assert (empty[: len(empty) // 3] == dot[: len(dot) // 3]).mean() > 0.99
    assert dot[len(dot) // 2, len(dot) // 2].max() < 80


def test_a_chosen_file_is_classified(session: PageSession) -> None:
    session.page.set_input_files("#files", upload(IMAGE))
    assert session.result() in "0123456789"
    assert session.page.locator("#preview").is_visible()
    session.page.locator("#clear").click()
    assert session.page.locator("#placeholder").is_visible()


def test_a_pasted_image_is_classified(session: PageSession) -> None:
    session.page.evaluate(
        """(bytes) => navigator.clipboard.write([
            new ClipboardItem({ "image/png": new Blob([new Uint8Array(bytes)], { type: "image/png" }) }),
        ])""",
        list(IMAGE["bytes"]),
    )
    session.page.keyboard.press("Control+v")
    assert session.result() in "0123456789"


def test_a_dropped_image_is_classified(session: PageSession) -> None:
    session.drop(IMAGE)
    assert session.result() in "0123456789"
    assert session.page.locator("#drop").is_hidden()


def test_each_of_several_files_has_its_own_result_or_error(session: PageSession) -> None:
    session.drop(IMAGE, TEXT_FILE, {**IMAGE, "name": "again.png"})
    session.result()
    first, second, third = session.page.locator("#gallery button .result").all_inner_texts()
    assert first == third
    assert first[0] in "0123456789"
    assert "Classification failed" in second
    session.page.get_by_role("button", name="text.jpg").click()
    expect(session.page.locator(".card .detail")).to_contain_text("not an image")
    session.page.get_by_role("button", name="again.png").click()
    expect(session.page.locator(".card .label")).to_have_text(first[0])


def test_many_files_are_sent_in_several_requests(session: PageSession) -> None:
    sent = []
    session.page.on("request", lambda request: sent.append(request.url) if "/classify" in request.url else None)
    session.page.set_input_files("#files", [upload({**IMAGE, "name": f"{i}.png"}) for i in range(40)])
    session.result()
    assert len(sent) == 3
    assert "…" not in session.page.locator("#gallery .result").all_inner_texts()


def test_the_servers_error_message_is_shown_and_the_page_continues(session: PageSession) -> None:
    session.page.set_input_files("#files", upload(TEXT_FILE))
    session.result()
    assert "not an image" in session.page.locator(".card .detail").inner_text()
    assert session.page.locator(".card[data-state=failed]").is_visible()
    session.expect_failed_requests()
    session.page.locator("#clear").click()
    session.draw(SCHOOL.write(1))
    assert session.result() in "0123456789"


def test_an_image_with_too_many_pixels_is_an_error(session: PageSession) -> None:
    session.drop({"name": "huge.png", "type": "image/png", "bytes": pictures.huge_header()})
    assert session.result() == "Too large"
    assert "pixels" in session.page.locator(".card .detail").inner_text()
    session.expect_failed_requests()


def test_a_late_result_never_replaces_a_newer_one(session: PageSession) -> None:
    requests = HeldRequests(session.page)
    session.draw([[(0.3, 0.3), (0.7, 0.3)]])
    older = requests.next()
    session.draw([[(0.3, 0.6), (0.7, 0.6)]])
    newer = requests.next()
    newer.fulfill(json=_response("newer"))
    assert session.result() == "newer"
    older.fulfill(json=_response("older"))
    session.page.wait_for_timeout(200)
    assert session.result() == "newer"
    session.expect_failed_requests()


def _response(label: str) -> dict[str, Any]:
    return {
        "id": "1",
        "model": "digits-vit",
        "results": [{"predictions": [{"label": label, "index": 0, "score": 0.9}]}],
        "batch_sizes": [1],
        "timings_ms": {"decode": 1, "queue": 0, "inference": 2, "total": 4},
    }


def test_an_unreachable_server_is_reported_until_it_is_back(session: PageSession) -> None:
    session.page.route("**/*", lambda route: route.abort("connectionrefused"))
    session.draw(SCHOOL.write(3))
    assert session.result() == "Server unreachable"
    session.page.get_by_role("alert").get_by_role("button", name="Try again").wait_for()
    assert "tessella serve" in session.page.get_by_role("alert").inner_text()
    session.page.unroute_all()
    session.page.wait_for_selector(".card[data-state=done]")
    assert session.page.locator("#notice").is_hidden()
    session.expect_failed_requests()


def test_loading_models_are_reported_and_waited_for(session: PageSession) -> None:
    loading = {"default": "a", "models": [{"name": "a", "state": "loading"}, {"name": "b", "state": "loading"}]}
    session.page.route("**/models", lambda route: route.fulfill(json=loading))
    session.page.goto(f"{session.url}/")
    assert "loading" in session.page.get_by_role("alert").inner_text()
    session.draw(SCHOOL.write(4))
    session.page.unroute_all()
    assert session.result() in "0123456789"
    assert session.page.locator("#notice").is_hidden()


def test_all_models_are_compared(session: PageSession) -> None:
    session.draw(SCHOOL.write(5))
    session.result()
    session.page.get_by_label("Model").select_option(label="All, side by side")
    session.result()
    names = session.page.locator(".card .model").all_inner_texts()
    assert names == ["digits-vit", "digits-tnt"]
    assert all(label in "0123456789" for label in session.page.locator(".card .label").all_inner_texts())


def test_two_of_several_models_are_compared(session: PageSession) -> None:
    page = session.page
    models = httpx.get(f"{session.url}/models").json()
    models["models"].append(models["models"][0] | {"name": "third"})
    page.route(f"{session.url}/models", lambda route: route.fulfill(json=models))
    session.open()
    page.get_by_label("Model").select_option("digits-tnt")
    page.get_by_label("Compare with").select_option("digits-vit")
    session.draw(SCHOOL.write(5))
    session.result()
    assert page.locator(".card .model").all_inner_texts() == ["digits-tnt", "digits-vit"]
    page.get_by_label("Model").select_option(label="All, side by side")
    expect(page.get_by_label("Compare with")).to_be_hidden()
    page.get_by_label("Model").select_option("digits-vit")
    page.get_by_label("Compare with").select_option("digits-vit")
    expect(page.locator(".card")).to_have_count(1)
    session.expect_failed_requests()  # the third model is not served


def test_the_curl_command_sends_the_same_request(session: PageSession) -> None:
    session.draw(SCHOOL.write(6))
    session.result()
    command = session.page.locator("#curl").inner_text()
    url = f"{session.url}/classify?model=digits-vit&top_k=5"
    assert command == f"curl --data-binary @drawing.png -H 'content-type: image/png' '{url}'"
    session.page.get_by_role("button", name="Copy").click()
    session.page.get_by_role("button", name="Copied").wait_for()
    assert session.page.evaluate("navigator.clipboard.readText()") == command
    with session.page.expect_download() as download:
        session.page.get_by_role("button", name="Save drawing").click()
    assert download.value.suggested_filename == "drawing.png"


def test_the_page_and_its_files_are_revalidated(service: str) -> None:
    assert_revalidated(f"{service}/")
    assert httpx.get(f"{service}/ui/theme.css").headers["cache-control"] == "no-cache"
    assert httpx.get(f"{service}/ui/nothing").status_code == 404
