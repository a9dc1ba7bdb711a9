"""The handout in a real browser: chromium and its driver, with selenium; skipped where one is absent."""

import base64
import re

import pytest

from numpygpt.study.lessons.handout import handout
from tests.browsing import needs_chromium, opened, resized

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    path = tmp_path_factory.mktemp("handout") / "handout.html"
    path.write_text(handout(), encoding="utf-8")
    return path.as_uri()


def test_the_handout_prints_on_two_pages(browser, paper):
    with opened(browser, paper):
        pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert len(re.findall(rb"/Type\s*/Page[^s]", pdf)) <= 2


@pytest.mark.parametrize("width", [1280, 390])
def test_the_handout_is_as_wide_as_the_screen_and_its_formulas_are_drawn(browser, paper, width):
    with opened(browser, paper) as asked:
        resized(browser, width)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        heights = browser.execute_script(
            "return [...document.querySelectorAll('mfrac')].map(m => m.getBoundingClientRect().height)"
        )
        assert heights and min(heights) > 20  # a fraction that is drawn as one line of text is lower
    assert asked == [paper]
