"""An officer's way through the pages, in a real browser; without chromium it is skipped."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from served import EMAIL, SSN, SUBJECT, Served
from stored_requests import opened, settled

pytestmark = pytest.mark.browser
NOWHERE = {"rows": 9, "without_corpus": {"openings": 3, "verdict": "not memorised"}}


def shot(browser: Any, name: str) -> None:
    """A picture of the whole page, where somebody wants to look: REVS_SHOTS names the folder."""
    if folder := os.environ.get("REVS_SHOTS"):
        Path(folder).mkdir(exist_ok=True)
        taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


def log_in(browser: Any, address: str, secret: str) -> None:
    browser.get(address)
    assert browser.current_url == f"{address}/login"
    fill(browser, "token", secret)
    press(browser, "form[action='/login'] button")


def fill(browser: Any, name: str, value: str) -> None:
    field = browser.find_element("name", name)
    if field.tag_name == "select":
        from selenium.webdriver.support.ui import Select

        Select(field).select_by_value(value)
    else:
        field.send_keys(value)


def press(browser: Any, selector: str) -> None:
    """Click what leads to another page, and wait for it."""
    from selenium.webdriver.support.expected_conditions import staleness_of
    from selenium.webdriver.support.ui import WebDriverWait

    before = browser.find_element("css selector", "html")
    browser.find_element("css selector", selector).click()
    WebDriverWait(browser, 20).until(staleness_of(before))


def text(browser: Any) -> str:
    return str(browser.find_element("tag name", "main").text)


def shows_nothing(browser: Any) -> None:
    for value in (SSN, EMAIL, SUBJECT):
        assert value not in browser.page_source


def test_an_officer_submits_another_verifies_reads_and_withdraws(
    served: Served, address: str, new_browser: Callable[..., Any]
) -> None:
    submitter, officer = new_browser(), new_browser()
    log_in(submitter, address, served.secret["officer"])
    press(submitter, "a[href='/submit']")
    shot(submitter, "submit")
    fill(submitter, "subject", SUBJECT)
    fill(submitter, "type-0", "US_SSN")
    fill(submitter, "value-0", SSN)
    fill(submitter, "type-1", "EMAIL_ADDRESS")
    fill(submitter, "value-1", EMAIL)
    press(submitter, "form[action='/submit'] button")
    assert "The request is taken" in text(submitter)
    shows_nothing(submitter)
    request_id = submitter.find_element("css selector", "[role=status] code").text
    press(submitter, "[role=status] a")
    assert "to be verified" in text(submitter)
    assert not submitter.find_elements("css selector", "form[action$='/verify']"), "their own they may not verify"
    shot(submitter, "own")

    log_in(officer, address, served.secret["officer2"])
    assert request_id in text(officer)
    shot(officer, "list")
    press(officer, f"a[href='/requests/{request_id}']")
    press(officer, "form[action$='/verify'] button")
    assert "The request is verified." in text(officer) and "in line" in text(officer)
    assert "the other officer" in text(officer), "the history names who did it"
    shows_nothing(officer)
    shot(officer, "request")
    officer.find_element("css selector", "form[action$='/withdraw'] [name=sure]").click()
    press(officer, "form[action$='/withdraw'] button")
    assert "The request is withdrawn." in text(officer)
    assert not officer.find_elements("css selector", ".actions form")
    press(officer, ".out button")
    officer.back()
    officer.refresh()
    assert officer.current_url == f"{address}/login", "who logged out sees nothing more"
    assert served.store.get(request_id).status == "withdrawn"


def test_an_officer_verifies_watches_and_reads_what_became_of_each_identifier(
    served: Served, address: str, new_browser: Callable[..., Any]
) -> None:
    request_id = served.submitted()
    officer = new_browser()
    log_in(officer, address, served.secret["officer2"])
    press(officer, f"a[href='/requests/{request_id}']")
    press(officer, "form[action$='/verify'] button")
    batch_id = opened(served.store).id
    officer.get(f"{address}/requests/{request_id}")
    assert "being processed" in text(officer) and batch_id in text(officer)
    left = [replace(each, kind="not_found", detail=NOWHERE) for each in settled(served.store, batch_id) if each.number]
    served.store.close_batch(
        batch_id, status="completed", outcome={}, outcomes=[*settled(served.store, batch_id)[:1], *left]
    )
    officer.refresh()
    assert "needs a human" in text(officer) and "Not found in the text" in text(officer)
    shot(officer, "needs a human")
    officer.find_element("css selector", "form[action$='/accept'] [name=sure]").click()
    press(officer, "form[action$='/accept'] button")
    assert "The request is completed." in text(officer) and "Erased: the model had memorised it" in text(officer)
    assert "completed: nothing was left to erase" in text(officer), "the history says how it ended"
    shows_nothing(officer)
    shot(officer, "outcome")


def test_the_form_is_filled_and_sent_with_the_keyboard_alone(
    served: Served, address: str, new_browser: Callable[..., Any]
) -> None:
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.support.expected_conditions import presence_of_element_located
    from selenium.webdriver.support.ui import WebDriverWait

    browser = new_browser()
    log_in(browser, address, served.secret["submitter"])

    def focused() -> Any:
        return browser.switch_to.active_element

    def keys(*pressed: str) -> None:
        ActionChains(browser).send_keys(*pressed).perform()

    keys(Keys.TAB)
    assert focused().get_attribute("class") == "skip" and focused().location["x"] >= 0, "the first stop skips the head"
    keys(Keys.ENTER, Keys.TAB)
    assert focused().get_attribute("href").endswith("rows=3"), "the next stop stands in the content"
    outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "what has the focus shows it"
    keys(Keys.TAB, Keys.TAB, Keys.TAB)
    assert focused().get_attribute("name") == "subject"
    keys(SUBJECT)
    while focused().get_attribute("name") != "type-0":  # a date field has a stop for day, month and year
        keys(Keys.TAB)
    keys("US", Keys.TAB, SSN, Keys.ENTER)
    WebDriverWait(browser, 20).until(presence_of_element_located(("css selector", "[role=status]")))
    (request,) = served.store.list()
    assert (request.types, request.status, request.submitted_by) == (("US_SSN",), "unverified", "the submitter")


@pytest.mark.parametrize(("width", "dark"), [(1200, True), (390, False)], ids=["dark", "narrow"])
def test_nothing_runs_over_the_edge_or_comes_from_elsewhere(
    served: Served, address: str, new_browser: Callable[..., Any], width: int, dark: bool
) -> None:
    ids = [served.submitted(received=f"2026-{month:02}-01", subject=f"s {month}") for month in (8, 9, 11)]
    browser = new_browser(language="de", width=width, dark=dark)
    log_in(browser, address, served.secret["officer"])
    for page in ("/", f"/requests/{ids[0]}", "/submit", "/nowhere"):
        browser.get(address + page)
        assert browser.find_element("tag name", "html").get_attribute("lang") == "de"
        wider = browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wider <= 0, page
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert all(name.startswith(address) for name in loaded)
        shot(browser, f"de-{width}-{'dark' if dark else 'light'}-{page.strip('/').partition('/')[0] or 'list'}")
