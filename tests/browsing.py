"""Helpers for tests in a real browser. They need chromium, its driver and selenium, and skip where one is absent."""

import json
import shutil
import time
from contextlib import contextmanager

import pytest

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver")

OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@contextmanager
def chromium(profile):
    """Return a driver of a headless browser whose profile is the folder `profile`."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in [*OPTIONS, f"--user-data-dir={profile}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@contextmanager
def opened(browser, url):
    """Open the page 1280 wide and yield a list. At the end, check that nothing was logged, and put the requested
    addresses into the list."""
    asked = []
    resized(browser, 1280)
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get(url)
    while browser.execute_script("return document.readyState") != "complete":  # get may return before the scripts ran
        time.sleep(0.05)
    yield asked
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked += [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def resized(browser, width, dark=False):
    metrics = dict(width=width, height=844, deviceScaleFactor=1, mobile=width < 500)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = [dict(name="prefers-color-scheme", value="dark" if dark else "light")]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dict(features=scheme))


def press(page, *keys):
    body = page.find_element("css selector", "body")
    for key in keys:
        body.send_keys(key)


def texts(page, selector):
    return [element.text for element in page.find_elements("css selector", selector)]


def heading(page):
    return texts(page, "main > h2")[0]


def at(page, title):
    """Take a trace's page to the step of this title, forward."""
    page.execute_script("go(stations.findIndex(step => title(step) === arguments[0]))", title)
    assert heading(page) == title
