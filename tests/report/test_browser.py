"""The report in a real browser: no errors, sorting and filters change the rows, nothing overflows, keys and contrast."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from virb.report.build import write_report
from virb.scores.schema import check_scores

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
WIDTHS = (400, 1000, 1600)

#: The lowest contrast of the text that is shown, and where; elements on an image or hidden ones are left out.
CONTRAST = """
const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
  return .2126 * r + .7152 * g + .0722 * b; };
const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
let worst = [99, ""];
for (const e of document.querySelectorAll("main *, nav *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const box = e.getBoundingClientRect();
  if (!own || !box.width || e.closest("[hidden], option")) continue;
  const [a, b] = [light(parse(getComputedStyle(e).color).slice(0, 3)), light(ground(e))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < worst[0]) worst = [ratio, e.tagName + "." + e.className + ": " + e.textContent.slice(0, 40)];
}
return worst;
"""


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install virb[dev])")
    if BROWSER is None or DRIVER is None:
        pytest.skip("there is no chromium with chromedriver here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty encoders of three families on sixteen tasks by two probes, with long names."""
    rows = []
    for probe, shift in (("gradient", 0.0), ("knn", 0.05)):
        for e in range(20):
            role = ("self-supervised", "supervised", "untrained")[e % 3]
            for t in range(16):
                category = ("semantic image-level", "structural image-level", "structural pixelwise")[t % 3]
                score = 0.3 + 0.02 * ((e * 7 + t * 3) % 20) - shift
                name = f"resnet50-with-a-rather-long-name-of-run-{e:02}"
                rows.append((name, f"end-task-{t}", probe, score, category, "top1", 400, role, f"family-{e % 4}"))
    columns = ["encoder", "task", "probe", "score", "category", "metric", "n_test", "role", "family"]
    out = tmp_path_factory.mktemp("browser") / "r"
    return write_report(check_scores(pd.DataFrame(rows, columns=columns)), out, title="A title " * 8).index


def pages_of(index: Path) -> list[Path]:
    return [index, *[next(index.parent.glob(f"{kind}/*.html")) for kind in ("encoders", "tasks")]]


def open_page(browser: Any, page: Path, width: int = 1600, height: int = 1000) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())


def rows(browser: Any) -> list[list[str]]:
    script = """return [...document.querySelectorAll("[data-setting]:not([hidden]) tbody tr:not([hidden])")]
        .map((row) => [...row.cells].filter((cell) => !cell.hidden).map((cell) => cell.innerText.split("\\n")[0].trim()));"""
    return browser.execute_script(script)


def choose(browser: Any, name: str, value: str) -> None:
    script = """const one = document.forms[0].elements[arguments[0]]; one.value = arguments[1];
        for (const kind of ["input", "change"]) one.dispatchEvent(new Event(kind, {bubbles: true}));"""
    browser.execute_script(script, name, value)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_and_nothing_fails(browser, report, width):
    for page in pages_of(report):
        open_page(browser, page, width)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_contrast(browser, report, theme):
    wanted = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    for page in pages_of(report):
        open_page(browser, page)
        ratio, where = browser.execute_script(CONTRAST)
        assert ratio >= 4.5, where


def test_filters_choose_rows_and_columns(browser, report):
    open_page(browser, report)
    every = rows(browser)
    assert len(every) == 20
    choose(browser, "role", "supervised")
    assert len(rows(browser)) == 7
    choose(browser, "family", "family-1")
    found = rows(browser)
    assert 0 < len(found) < 7
    assert (
        browser.execute_script("return document.querySelector('output').textContent") == f"{len(found)} of 20 encoders"
    )
    browser.execute_script("document.querySelector('[type=reset]').click()")
    choose(browser, "search", "run-07")
    assert [row[1][-6:] for row in rows(browser)] == ["run-07"]
    choose(browser, "search", "")
    choose(browser, "category", "c1")
    few = rows(browser)
    assert len(few[0]) < len(every[0])
    assert [float(row[5]) for row in few] == sorted(float(row[5]) for row in few)  # by the category's own mean rank
    choose(browser, "category", "")
    assert rows(browser) == every


def test_probes_are_shown_one_at_a_time_or_side_by_side(browser, report):
    open_page(browser, report)
    first = rows(browser)
    choose(browser, "setting", "p1")
    assert len(rows(browser)) == 20
    assert rows(browser) != first
    choose(browser, "setting", "beside")
    assert len(rows(browser)[0]) == 1 + 2 + 2 * 16


def test_a_head_sorts_by_click_and_by_key(browser, report):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, report)
    head = browser.find_element("css selector", "[data-setting=p0] thead tr.tasks th:not([data-rank])")
    column = int(head.get_attribute("data-i"))
    button = head.find_element("css selector", "button")
    button.click()
    down = [float(row[column]) for row in rows(browser)]
    assert down == sorted(down, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.ENTER)
    up = [float(row[column]) for row in rows(browser)]
    assert up == sorted(up)


def test_every_control_is_reached_by_the_tab_key(browser, report):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, report)
    seen = []
    body = browser.find_element("css selector", "body")
    body.send_keys(Keys.TAB)
    for _ in range(14):
        one = browser.switch_to.active_element
        seen.append(one.get_attribute("name") or one.get_attribute("class") or one.tag_name)
        outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", seen
        one.send_keys(Keys.TAB)
    assert seen[0] == "skip"
    assert {"search", "category", "role", "family", "setting"} <= set(seen)


def test_the_head_stays_in_sight(browser, report):
    open_page(browser, report, 1600, 500)
    script = """const box = document.querySelector(".board"); box.scrollIntoView(); box.scrollTop = 300; window.scrollBy(0, 0);
        const head = document.querySelector(".board thead").getBoundingClientRect();
        return [head.top, head.bottom, innerHeight];"""
    top, bottom, height = browser.execute_script(script)
    assert -1 <= top < bottom < height


def test_without_script_the_order_is_sensible_and_no_control_is_dead(browser, report):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_page(browser, report)
        places = [cell.text for cell in browser.find_elements("css selector", "[data-setting=p0] tbody td.place")]
        assert [float(place) for place in places] == sorted(float(place) for place in places)
        assert not browser.find_element("css selector", "#tools").is_displayed()
        assert browser.find_element("css selector", "[data-setting=beside]").is_displayed()
        assert browser.find_elements("css selector", "button.sort") == []
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
