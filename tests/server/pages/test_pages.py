"""The pages Models, Benchmarks and Live in a real browser: what they show, what goes wrong, and for everybody."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tessella.server.settings import Settings

from ...support.browser import PICTURE, Visit, visiting, window
from ...support.gated_runner import GatedRunner
from ...support.live import gated

__all__ = ["window"]
pytestmark = pytest.mark.browser

PAGES = ("", "ui/models", "ui/benchmarks", "ui/live")
FOCUSABLE = """[...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")]
    .filter((node) => node.checkVisibility() && !node.disabled)"""
FOCUS = """(window.focused ??= new Set()).add(document.activeElement)
    && parseFloat(getComputedStyle(document.activeElement).outlineWidth)"""
SETTLED = {
    "ui/models": "#models article",
    "ui/benchmarks": "#page[data-state=idle] #model:enabled",
    "ui/live": "#model:enabled",
}
WIDTH = "[document.documentElement.scrollWidth, innerWidth]"


@pytest.fixture
def tab(window: Page, service: str) -> Iterator[Visit]:
    with visiting(window, service) as visit:
        yield visit


def ended(url: str) -> None:
    """Waits until no benchmark runs."""
    end = time.monotonic() + 60
    while any(run["state"] in ("queued", "running") for run in httpx.get(f"{url}/benchmarks").json()["benchmarks"]):
        assert time.monotonic() < end
        time.sleep(0.05)


def measured(visit: Visit, sizes: str, iterations: int = 3, model: str = "digits-vit") -> Page:
    """The page Benchmarks after a run that was started on it."""
    page = visit.go("ui/benchmarks")
    page.get_by_label("Model", exact=True).select_option(model)
    page.get_by_label("Batch sizes").fill(sizes)
    page.get_by_label("Model calls").fill(str(iterations))
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("#page[data-state=running]")
    page.wait_for_selector("#page[data-state=idle]")
    return page


def test_models_are_described(tab: Visit) -> None:
    page = tab.go("ui/models")
    vit, tnt = page.get_by_role("article").all()
    for text in ("digits-vit", "ready", "default", "Vision Transformer", "6 × 6 of 4 × 4 pixels", "cpu"):
        expect(vit).to_contain_text(text)
    expect(tnt).to_contain_text("each of 4 × 4 words")
    tnt.get_by_text("Labels (10)").click()
    expect(tnt.get_by_role("listitem")).to_have_count(10)
    expect(page.locator("#lead")).to_have_text("2 models answer.")


def test_models_that_load_or_have_failed_say_so_until_they_answer(tab: Visit) -> None:
    models = [{"name": "a", "state": "loading"}, {"name": "b", "state": "failed"}]
    tab.page.route(f"{tab.url}/models", lambda route: route.fulfill(json={"default": "a", "models": models}))
    page = tab.go("ui/models")
    expect(page.locator(".state")).to_have_text(["loading", "failed"])
    tab.assert_accessible()
    page.unroute_all()
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_role("article").first).to_contain_text("digits-vit")


def test_a_benchmark_is_started_followed_and_kept(tab: Visit) -> None:
    page = measured(tab, "1, 4")
    expect(page.locator("#stage")).to_contain_text("digits-vit: done")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text(re.compile(r"^4.*ms.*%.*×"))
    expect(page.locator(".chart svg")).to_have_count(2)
    assert page.locator(".chart").first.locator("path.line").count() == 3  # median, 95th percentile, eager PyTorch
    assert "95th percentile" in (page.locator(".chart svg").first.get_attribute("aria-label") or "")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    table = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [row["batch_size"] for row in table] == ["1", "4"]
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    assert json.loads(download.value.path().read_text())["state"] == "done"
    page.reload()
    expect(rows).to_have_count(2)


def test_two_runs_are_compared(tab: Visit) -> None:
    measured(tab, "1, 2")
    page = measured(tab, "1, 2", model="digits-tnt")
    page.get_by_label("Compare with").select_option(index=2)
    expect(page.locator("thead")).to_contain_text("Other p50")
    names = page.locator(".chart").nth(1).locator(".legend li").all_inner_texts()
    assert names == ["digits-tnt", "digits-tnt, eager PyTorch", "digits-vit"]


def test_a_benchmark_of_somebody_else_is_shown_and_can_be_cancelled(tab: Visit) -> None:
    started = httpx.post(f"{tab.url}/benchmarks", json={"batch_sizes": [1, 2], "iterations": 10_000})
    assert started.status_code == 202, started.text
    page = tab.go("ui/benchmarks")
    page.wait_for_selector("#page[data-state=running]")
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    expect(page.locator("#stage")).to_contain_text("batch 1")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#stage")).to_contain_text("cancelled after")
    expect(page.get_by_role("button", name="Start")).to_be_enabled()


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (409, {"error": "benchmark 1 of digits-vit is running", "error_type": "benchmark_running"}, "is running"),
        (429, {"error": "the service is answering requests", "error_type": "overloaded"}, "Too busy right now"),
        (403, {"error": "only for requests from this machine", "error_type": "forbidden"}, "Not from here"),
    ],
)
def test_a_benchmark_that_is_refused_says_why(tab: Visit, status: int, answer: dict[str, str], says: str) -> None:
    page = tab.go("ui/benchmarks")
    page.route(
        "**/benchmarks",
        lambda route: (
            route.fulfill(status=status, json=answer) if route.request.method == "POST" else route.continue_()
        ),
    )
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#stage.failed")).to_contain_text(says)
    tab.expect_failed_requests()


def test_what_cannot_be_measured_is_said_by_the_service(tab: Visit) -> None:
    page = tab.go("ui/benchmarks")
    page.get_by_label("Batch sizes").fill("1, 999")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#stage.failed")).to_contain_text("999 is larger than the model's largest")
    tab.assert_accessible()
    tab.expect_failed_requests()


def test_the_live_page_counts_what_happens(tab: Visit) -> None:
    page = tab.go("ui/live")
    images = page.locator("#numbers > div", has_text="images").nth(1).locator(".value")
    expect(images).to_have_text("0")
    for _ in range(3):
        httpx.post(f"{tab.url}/classify?model=digits-vit", files=[("image", PICTURE["bytes"])] * 4)
    expect(page.locator(".chart", has_text="Batch sizes").locator("rect")).not_to_have_count(0)
    assert page.locator(".chart", has_text="Latency").locator("path.line").count() == 2
    httpx.post(f"{tab.url}/classify?model=digits-tnt", content=PICTURE["bytes"])
    page.get_by_label("Model").select_option("digits-tnt")
    expect(page.locator(".chart", has_text="Batch sizes").locator("rect")).to_have_count(1)
    asked: list[str] = []
    page.get_by_role("button", name="Pause").click()
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1500)
    assert asked == []


def test_the_live_page_says_when_the_service_is_gone(tab: Visit) -> None:
    page = tab.go("ui/live")
    page.route("**/metrics", lambda route: route.abort("connectionrefused"))
    expect(page.get_by_role("alert")).to_contain_text("tessella serve")
    page.unroute_all()
    expect(page.locator("#notice")).to_be_hidden()
    tab.expect_failed_requests()


def test_where_a_key_is_needed_every_page_asks_for_it_once(window: Page) -> None:
    with (
        gated(GatedRunner(), Settings(model=("gated",), api_key=("red",), max_batch_size=8)) as live,
        visiting(window, live.url) as visit,
    ):
        for path in ("", "ui/models", "ui/benchmarks"):
            page = visit.go(path)
            page.get_by_label("API key").wait_for()
        page.get_by_label("API key").fill("blue")
        page.get_by_role("button", name="Use key").click()
        expect(page.locator("form.key")).to_contain_text("does not know that key")
        visit.assert_accessible()
        page.get_by_label("API key").fill("red")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Start")).to_be_enabled()
        expect(page.get_by_label("Batch sizes")).to_have_value("1, 2, 4, 8")
        for path in PAGES:
            page = visit.go(path)
            page.wait_for_load_state("networkidle")
            expect(page.locator("form.key")).to_be_hidden()
        page = visit.open().page
        page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": PICTURE["bytes"]})
        assert visit.answer().startswith("red ")
        assert '-H "x-api-key: $KEY"' in page.locator("#curl").inner_text()
        assert page.evaluate("sessionStorage.length") == 1
        page.evaluate("sessionStorage.clear()")
        visit.expect_failed_requests()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_against_the_guidelines(window: Page, service: str, theme: str) -> None:
    with visiting(window, service, theme) as visit:
        page = visit.go("ui/models")
        page.get_by_role("article").first.wait_for()
        for summary in page.locator("summary").all():
            summary.click()
        visit.assert_accessible()
        measured(visit, "1, 2")
        visit.assert_accessible()
        page = visit.go("ui/live")
        page.locator(".value", has_not_text="–").first.wait_for()
        visit.assert_accessible()


def test_a_phone_shows_everything_without_sideways_scrolling(tab: Visit) -> None:
    tab.page.set_viewport_size({"width": 360, "height": 740})
    measured(tab, "1, 2, 4")
    for path in PAGES:
        page = tab.go(path)
        page.wait_for_load_state("load")
        page.wait_for_timeout(300)
        needed, there = page.evaluate(WIDTH)
        assert needed <= there, path


@pytest.mark.parametrize("path", PAGES[1:])
def test_everything_is_reached_by_keyboard(tab: Visit, path: str) -> None:
    page = tab.go(path)
    page.wait_for_selector(SETTLED[path])
    expected = page.evaluate(f"{FOCUSABLE}.length")
    for _ in range(expected + 1):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS) >= 2 or page.evaluate("document.activeElement === document.body")
    missed = page.evaluate(f"{FOCUSABLE}.filter((node) => !window.focused.has(node)).map((node) => node.outerHTML)")
    assert not missed
    assert page.evaluate("[...window.focused].filter((node) => node !== document.body).length") == expected


@pytest.mark.parametrize("path", PAGES[1:])
def test_who_asks_for_less_motion_gets_none(tab: Visit, path: str) -> None:
    tab.page.emulate_media(reduced_motion="reduce")
    page = tab.go(path)
    page.wait_for_load_state("networkidle") if path != "ui/live" else page.wait_for_timeout(1200)
    assert page.evaluate("document.getAnimations().length") == 0


def test_pages_are_asked_again_and_not_sent_again(service: str) -> None:
    for path in PAGES:
        first: Any = httpx.get(f"{service}/{path}")
        assert first.headers["content-type"].startswith("text/html")
        assert first.headers["cache-control"] == "no-cache"
        again = httpx.get(f"{service}/{path}", headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 304, path
    assert httpx.get(f"{service}/ui/nothing").status_code == 404
    assert httpx.get(f"{service}/ui/theme.css").headers["cache-control"] == "no-cache"
