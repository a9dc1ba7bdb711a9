"""The handout and the site in a real browser."""

import base64
import re

import pytest

import numpygpt
from numpygpt.study import lessons
from numpygpt.study.lessons.handout import handout
from numpygpt.study.lessons.site import write_site
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
def test_the_handout_fits_the_screen_and_its_formulas_are_rendered(browser, paper, width):
    with opened(browser, paper) as asked:
        resized(browser, width)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        heights = browser.execute_script(
            "return [...document.querySelectorAll('mfrac')].map(m => m.getBoundingClientRect().height)"
        )
        assert heights and min(heights) > 20  # a fraction shown as one line of text is lower
    assert asked == [paper]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Build the site with the first six lessons, which neither train nor trace a model."""
    folder = tmp_path_factory.mktemp("site") / "course"
    clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], "last_block", pad="end", position="last")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lessons, "FILES", {number: lessons.FILES[number] for number in range(1, 7)})
        write_site(folder, clf)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("width, dark", [(1280, False), (860, True), (390, False), (390, True)])
def test_every_page_fits_the_screen_without_logs_or_requests(browser, course, width, dark):
    for path in sorted(course.glob("*.html")):
        with opened(browser, path.as_uri()) as asked:
            resized(browser, width, dark)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, path.name
        assert {url for url in asked if not url.startswith("about:srcdoc")} == {path.as_uri()}, path.name


@pytest.mark.slow
def test_a_slider_shows_the_output_of_its_value(browser, course):
    with opened(browser, (course / "lesson_4.html").as_uri()):
        shown = "return [...document.querySelectorAll('.turn [data-value]:not([hidden])')].map(o => o.innerText)"
        (before,) = browser.execute_script(shown)
        slider = browser.find_element("css selector", ".turn input")
        slider.send_keys("\ue012")  # the left arrow
        (after,) = browser.execute_script(shown)
        assert browser.find_element("css selector", ".turn output").text == "0.1"
    assert before != after and "dx" in after


@pytest.mark.slow
def test_links_lead_from_the_start_through_the_tour_and_a_lesson_to_the_glossary(browser, course):
    with opened(browser, (course / "index.html").as_uri()):
        browser.find_element("partial link text", "Yes").click()
        assert "Tour, stop 1 of" in browser.find_element("css selector", "body").text
        browser.find_element("partial link text", "the course").click()
        browser.find_element("link text", lessons.lesson(2).title).click()
        browser.find_element("link text", "logit").click()
        assert browser.current_url.endswith("glossary.html#logit")
