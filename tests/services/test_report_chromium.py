"""The report in a real browser: no error, no connection, everything reachable by keyboard, prints.

Needs Debian's ``chromium`` and ``chromium-driver``. Without them the tests are skipped, in CI they fail.
Set ``REPORT_SCREENSHOTS=FOLDER`` to keep the screenshots.
"""

from __future__ import annotations

import base64
import json
import os
import runpy
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from seismolog.report import build
from seismolog.report.findings import find

SAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "report_evening.py"))
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,900",
)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = [pytest.mark.browser]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    evening = SAMPLE["evening"]()
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(build(replace(evening, findings=find(evening))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    if not BROWSER or not DRIVER:
        message = "headless Chromium is missing: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def scheme(browser, value: str) -> None:
    # Smooth scrolling would have the tests wait for it.
    features = [
        {"name": "prefers-color-scheme", "value": value},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.fixture
def page(browser, report: Path):
    scheme(browser, "light")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(report.as_uri())
    browser.execute_script("try { localStorage.clear() } catch {}")
    return browser


def background(page) -> tuple[int, ...]:
    text = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    return tuple(int(part) for part in text[text.index("(") + 1 : -1].split(",")[:3])


def press(page, *keys: str) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    for key in keys:
        ActionChains(page).send_keys(getattr(Keys, key)).perform()


def focused(page) -> str:
    return page.execute_script(
        "const e = document.activeElement; return e.id || e.hash || e.className || e.tagName"
    )


def test_no_error_no_connection_and_hostile_text_did_nothing(page, report: Path) -> None:
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    assert page.get_log("browser") == []
    requested = []
    for entry in page.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            requested.append(message["params"]["request"]["url"])
    outside = [url for url in requested if not url.startswith(("file:", "data:", "about:", "chrome:"))]
    assert outside == []
    assert [url for url in requested if url.startswith("file:")] == [report.as_uri()]
    assert page.execute_script("return window.hacked") is None
    assert page.execute_script("return document.querySelectorAll('img, iframe, object, embed').length") == 0
    assert "window.hacked=1" in page.find_element("id", "unmatched").find_element("xpath", "..").text


def test_the_page_cannot_be_made_to_connect(page) -> None:
    result = page.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), () => done('refused'));"
    )
    assert result == "refused"
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


def test_charts_are_drawn(page) -> None:
    sizes = page.execute_script(
        "return [...document.querySelectorAll('figure.chart .plot > svg')].map(s => {"
        "const b = s.getBoundingClientRect(); return [b.width, b.height, s.querySelectorAll('path').length]})"
    )
    assert len(sizes) == 6
    assert all(width > 600 and height >= 90 and paths for width, height, paths in sizes)
    lengths = page.execute_script(
        "return [...document.querySelectorAll('.plot path.line, .plot path.dash')].map(p => p.getTotalLength())"
    )
    assert lengths
    assert all(length > 500 for length in lengths)
    assert page.execute_script("return document.querySelectorAll('.clients svg.small').length") == 12


def test_the_page_is_no_wider_than_the_window(page) -> None:
    for width in (360, 420, 768, 1280, 1920):
        page.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_dark_follows_the_system_and_the_button_overrides_it(page) -> None:
    assert min(background(page)) > 230
    scheme(page, "dark")
    assert max(background(page)) < 60
    button = page.find_element("id", "theme")
    button.click()
    assert button.text == "Theme: light"
    assert min(background(page)) > 230
    button.click()
    assert button.text == "Theme: dark"
    scheme(page, "light")
    assert max(background(page)) < 60
    button.click()
    assert min(background(page)) > 230


def contrast(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    def luminance(colour: tuple[int, ...]) -> float:
        parts = [v / 255 for v in colour]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_curves_stand_out_from_the_paper(page, theme: str) -> None:
    scheme(page, theme)
    paper = background(page)
    names = (
        "ink",
        "soft",
        "faint",
        "accent",
        "critical",
        "warning",
        "c-dns",
        "c-smtp",
        "c-pop",
        "c-deferred",
    )
    for name in names:
        text = page.execute_script(
            "const e = document.createElement('i'); e.style.color = `var(--${arguments[0]})`; document.body.append(e);"
            "const c = getComputedStyle(e).color; e.remove(); return c",
            name,
        )
        colour = tuple(int(part) for part in text[text.index("(") + 1 : -1].split(",")[:3])
        least = 3.0 if name.startswith("c-") else 3.5 if name == "faint" else 4.5
        assert contrast(colour, paper) >= least, (name, contrast(colour, paper))


def test_every_section_is_reached_by_keyboard(page) -> None:
    press(page, "TAB")
    assert page.execute_script("return document.activeElement.className") == "skip"
    assert page.execute_script("return document.activeElement.getBoundingClientRect().top") >= 0
    press(page, "ENTER")
    assert focused(page) == "findings"
    seen = []
    page.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.execute_script("document.querySelector('nav a').focus()")
    for _ in range(5):
        link = page.execute_script("return document.activeElement.hash")
        press(page, "ENTER")
        seen.append(focused(page))
        top = page.execute_script(
            "return document.querySelector(arguments[0]).getBoundingClientRect().top", link
        )
        height = page.execute_script("return innerHeight")
        assert -5 <= top < height
        page.execute_script("document.querySelector(`nav a[href='${arguments[0]}']`).focus()", link)
        press(page, "TAB")
    assert seen == ["findings", "traffic", "model", "clients", "input"]


def test_focus_is_seen(page) -> None:
    press(page, "TAB", "TAB")
    style = page.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"


def test_arrow_keys_read_a_chart_and_enter_pins_its_command(page) -> None:
    page.execute_script("document.querySelector('#chart-traffic .panels').focus()")
    value = "return document.querySelector('#chart-traffic output').textContent"
    press(page, "HOME")
    first = page.execute_script(value)
    assert first != ""
    press(page, "END")
    assert page.execute_script(value) != ""
    unit = page.execute_script("return document.querySelector('#chart-traffic .unit').textContent")
    assert unit == "15 Jul, 23:50–00:00"
    press(page, "ENTER")
    command = page.find_element("css selector", "#pin code").text
    assert command.endswith("--since 2002-07-15T23:50 --until 2002-07-16T00:00")
    assert command.startswith("seismolog count logs/1dns logs/1mx")
    others = page.execute_script("return document.querySelector('#chart-cache-1 output').textContent")
    assert others.endswith("%")
    press(page, "ESCAPE")
    assert page.execute_script(value) == ""
    assert not page.find_element("id", "pin").is_displayed()


def test_pointing_reads_the_same_moment_in_every_chart(page) -> None:
    from selenium.webdriver import ActionChains

    plot = page.find_element("css selector", "#chart-traffic .plot")
    ActionChains(page).move_to_element_with_offset(plot, 0, 0).perform()
    units = page.execute_script(
        "return [...document.querySelectorAll('figure.chart .unit')].map(u => u.textContent)"
    )
    assert len(set(units)) == 1
    assert units[0].startswith("14 Jul, 1")


def test_marks_lead_to_their_finding(page) -> None:
    page.find_element("css selector", "#chart-deliveries .flag").click()
    assert page.execute_script("return location.hash") == "#finding-1"


def test_it_prints_light_without_what_paper_cannot_use(page, tmp_path: Path) -> None:
    scheme(page, "dark")
    pdf = base64.b64decode(
        page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})["data"]
    )
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) < 3_000_000
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert page.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    assert (
        page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    if shutil.which("pdftotext"):
        path = tmp_path / "report.pdf"
        path.write_bytes(pdf)
        text = subprocess.run(
            ["pdftotext", "-layout", str(path), "-"], capture_output=True, text=True, check=True
        ).stdout
        assert "What stands out" in text
        assert "Observed against calculated" in text
        assert "What was guessed" in text
        assert "Copy" not in text


def test_without_script_everything_is_there(page, report: Path) -> None:
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.get(report.as_uri())
        assert page.find_element("css selector", "#chart-traffic svg").is_displayed()
        assert not page.find_element("id", "theme").is_displayed()
        assert not page.find_element("id", "pin").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screenshots(page, theme: str, tmp_path: Path) -> None:
    scheme(page, theme)
    folder = Path(os.environ.get("REPORT_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    height = page.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": 1280, "height": height, "scale": 1}
    shot = page.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "clip": clip, "captureBeyondViewport": True}
    )
    picture = base64.b64decode(shot["data"])
    (folder / f"report-{theme}.png").write_bytes(picture)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 100_000  # a blank page compresses to almost nothing
