"""Benchmarks page in a real browser."""

import csv
import io
import json
import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from ...support.browser import PageSession, browser_page, open_session
from ...support.browser import blank_session as session
from ...support.page_checks import PageTests, assert_fits_a_phone

__all__ = ["browser_page", "session"]
pytestmark = pytest.mark.browser


def run_benchmark(session: PageSession, sizes: str, iterations: int = 3, model: str = "digits-vit") -> Page:
    """Benchmarks page after a run that was started on it."""
    page = session.go("ui/benchmarks")
    page.get_by_label("Model", exact=True).select_option(model)
    page.get_by_label("Batch sizes").fill(sizes)
    page.get_by_label("Iterations").fill(str(iterations))
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("#page[data-state=running]")
    page.wait_for_selector("#page[data-state=idle]")
    return page


def test_a_run_is_started_followed_and_exported(session: PageSession) -> None:
    page = run_benchmark(session, "1, 4")
    expect(page.locator("#status")).to_contain_text("digits-vit: done")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text(re.compile(r"^4.*ms.*%.*×"))
    expect(page.locator(".chart svg")).to_have_count(2)
    assert page.locator(".chart").first.locator("path.line").count() == 3  # median, 95th percentile, eager PyTorch
    assert page.locator(".chart").first.locator("text").all_text_contents()[-2:] == ["1", "4"], "the batch sizes"
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


def test_two_runs_are_compared(session: PageSession) -> None:
    run_benchmark(session, "1, 2")
    page = run_benchmark(session, "1, 2", model="digits-tnt")
    page.get_by_label("Compare with").select_option(index=2)
    expect(page.locator("thead")).to_contain_text("Other p50")
    names = page.locator(".chart").nth(1).locator(".legend li").all_inner_texts()
    assert names == ["digits-tnt", "digits-tnt, eager PyTorch", "digits-vit"]


def test_a_run_of_another_client_is_shown_and_can_be_cancelled(session: PageSession) -> None:
    response = httpx.post(f"{session.url}/benchmarks", json={"batch_sizes": [1, 2], "iterations": 10_000})
    assert response.status_code == 202, response.text
    page = session.go("ui/benchmarks")
    page.wait_for_selector("#page[data-state=running]")
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    expect(page.locator("#status")).to_contain_text("batch 1")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_contain_text("cancelled after")
    expect(page.get_by_role("button", name="Start")).to_be_enabled()


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (409, {"error": "benchmark 1 of digits-vit is running", "error_type": "benchmark_running"}, "is running"),
        (429, {"error": "the service is answering requests", "error_type": "overloaded"}, "Server busy"),
        (403, {"error": "only for requests from this machine", "error_type": "forbidden"}, "Not allowed"),
    ],
)
def test_the_reason_for_a_rejected_run_is_shown(
    session: PageSession, status: int, error: dict[str, str], message: str
) -> None:
    page = session.go("ui/benchmarks")
    page.route(
        "**/benchmarks",
        lambda route: route.fulfill(status=status, json=error) if route.request.method == "POST" else route.continue_(),
    )
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#status.failed")).to_contain_text(message)
    session.expect_failed_requests()


def test_the_services_validation_error_is_shown(session: PageSession) -> None:
    page = session.go("ui/benchmarks")
    page.get_by_label("Batch sizes").fill("1, 999")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#status.failed")).to_contain_text("999 is larger than the model's maximum")
    session.assert_accessible()
    session.expect_failed_requests()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible(browser_page: Page, service: str, theme: str) -> None:
    with open_session(browser_page, service, theme) as session:
        run_benchmark(session, "1, 2, 4")
        session.assert_accessible()
        assert_fits_a_phone(session)


class TestBenchmarksPage(PageTests):
    path, ready = "ui/benchmarks", "#page[data-state=idle] #model:enabled"
