"""The map and the tour in a real browser: at three widths, in both schemes, with the mouse and the keyboard."""

from pathlib import Path

import pytest

import numpygpt
from numpygpt.model.config import Config
from numpygpt.study.trace import page as page_module
from numpygpt.study.trace.operation import examples, trace_operation
from numpygpt.study.trace.page import framed, operation_page
from tests.browsing import heading, needs_chromium, opened, press, resized, texts
from tests.tiny import save_model

pytestmark = needs_chromium
ENTER, RIGHT = "\ue007", "\ue014"
SIZES = [(width, dark) for width in (1280, 860, 390) for dark in (False, True)]
SIZES = [size if size == (390, False) else pytest.param(*size, marks=pytest.mark.slow) for size in SIZES]


@pytest.fixture(scope="module")
def trace():
    clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], "all", pad="end", position="last")
    return clf.trace("Call now to call now", "spam")


@pytest.fixture(scope="module")
def url(trace, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "trace.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "ENTRIES", ((float("inf"), 1),))  # more entries are slow, and tested elsewhere
        trace.save(path)
    assert path.stat().st_size < 4_000_000
    return path.as_uri()


@pytest.fixture
def page(browser, url):
    with opened(browser, url) as asked:
        yield browser
    assert {address.split("#")[0] for address in asked} <= {url}


def nodes(page):
    """Return the texts of the map's boxes, in the order of their steps."""
    return page.execute_script(
        "return [...document.querySelectorAll('#map .node')].map(node => node.getAttribute('aria-label'))"
    )


def node(page, label):
    """Return the box whose label starts with `label`."""
    return next(
        found
        for found in page.find_elements("css selector", "#map .node")
        if found.get_attribute("aria-label").startswith(label)
    )


def lit(page):
    """Return the numbers of highlighted forward and backward arrows, and of all of them."""
    count = "return arguments[0].map(kind => document.querySelectorAll('#map .arrow.' + kind).length)"
    return page.execute_script(count, ["forward.lit", "backward.lit", "forward", "backward"])


def width_of(page):
    return page.execute_script("return document.documentElement.scrollWidth")


def go(page, step, back=False):
    page.execute_script("go(positionOf(arguments[0], arguments[1]))", step, back)


def test_the_map_has_a_box_for_each_step_and_folds_all_blocks_but_one(page, trace):
    found, n_layer = nodes(page), trace.config.n_layer
    assert sum("folded" in label for label in found) == n_layer - 1
    in_blocks = [step for step in trace.steps if step.name.startswith("h.")]
    assert len(found) == 2 + len(trace.steps) - len(in_blocks) + len(in_blocks) // n_layer + n_layer - 1
    assert any(label.startswith(f"block {n_layer - 1} · attention, {len(trace.ids)} × ") for label in found)
    assert len(page.find_elements("css selector", "#map .head")) == trace.config.n_head
    assert "new head" in page.find_element("id", "map").text


def test_a_click_on_a_box_goes_to_its_step_and_marks_it(page, trace):
    node(page, "block 2 · gelu").click()
    assert heading(page) == "block 2 · gelu"
    here = page.find_elements("css selector", "#map [aria-current=step]")
    assert len(here) == 1 and "you are here" in here[0].text
    node(page, "block 0, folded").click()
    assert heading(page) == "block 0 · layernorm (ln_1)" and node(page, "block 0 · attention").is_displayed()


def test_a_block_folds_and_opens(page, trace):
    page.find_element("css selector", "#map .fold").click()
    assert sum("folded" in label for label in nodes(page)) == trace.config.n_layer
    node(page, "block 1, folded").click()
    node(page, "block 2, folded").click()
    assert sum("folded" in label for label in nodes(page)) == 1  # the reader opened two


def test_arrows_are_highlighted_forward_and_then_backward(page, trace):
    steps = len(trace.steps)
    assert lit(page)[:2] == [0, 0]
    page.execute_script(f"go({steps})")  # the loss
    forward, backward, all_forward, all_backward = lit(page)
    assert forward == all_forward and backward == 0 and all_backward == all_forward - 1  # tokens have no gradient
    press(page, RIGHT, RIGHT)
    assert lit(page)[:2] == [all_forward, 2]
    go(page, "embedding", back=True)
    assert lit(page)[1] == all_backward


def test_a_model_of_twelve_blocks_fits_a_wide_screen_and_its_map_scrolls_on_a_phone(browser, tmp_path):
    save_model(tmp_path / "model", Config(vocab_size=300, n_positions=24, n_embd=8, n_layer=12, n_head=2))
    clf = numpygpt.Classifier(numpygpt.load(tmp_path / "model"), ["ham", "spam"], "head")
    clf.trace("win", "spam").save(tmp_path / "twelve.html")
    with opened(browser, (tmp_path / "twelve.html").as_uri()):
        assert sum("folded" in label for label in nodes(browser)) == 11
        for width in (1280, 390):
            resized(browser, width)
            browser.execute_script("go(positionOf('h.6.gelu'))")
            here = browser.find_element("css selector", "#map [aria-current=step]").rect
            assert 0 <= here["x"] <= width - here["width"] and width_of(browser) <= width


def test_the_map_has_no_backward_arrow_without_a_gradient(browser, tmp_path):
    clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], "head")
    clf.trace("Call", "spam").save(tmp_path / "head.html")
    with opened(browser, (tmp_path / "head.html").as_uri()):
        assert lit(browser)[3] == 1  # from the loss to the head
        assert "no gradient" in next(label for label in nodes(browser) if "gelu" in label)


def test_the_map_shows_a_language_models_tied_head(browser, tmp_path):
    numpygpt.load("mini").trace("Call now", "ln_f.*").save(tmp_path / "language.html")
    with opened(browser, (tmp_path / "language.html").as_uri()):
        assert "tied" in browser.find_element("id", "map").text


def test_the_keyboard_reaches_every_box(page, trace):
    found = nodes(page)
    page.execute_script("document.querySelector('#map .node').focus()")
    reached = set()
    for _ in range(2 * len(found)):
        reached.add(page.execute_script("return document.activeElement.getAttribute('aria-label')"))
        page.switch_to.active_element.send_keys("\ue004")  # tab
    assert set(found) <= reached
    page.execute_script("arguments[0].focus()", node(page, "head"))
    page.switch_to.active_element.send_keys(ENTER)
    assert heading(page) == "head"
    assert page.execute_script("return document.activeElement.getAttribute('aria-label')").startswith("head")


@pytest.mark.parametrize("width, dark", SIZES)
def test_the_tour_visits_every_stop_and_fits_the_screen(page, width, dark):
    resized(page, width, dark)
    assert width_of(page) <= width
    page.find_element("id", "starttour").click()
    count = page.execute_script("return data.tour.length")
    assert count == 12
    for number in range(1, count + 1):
        assert f"stop {number} of {count}" in texts(page, ".stoptop b")[0]
        assert page.execute_script("return location.hash") == f"#tour={number}"
        answer = page.find_element("css selector", ".stop details p")
        assert not answer.is_displayed() and page.find_elements("css selector", ".column .v.look")
        page.find_element("css selector", ".stop summary").click()
        assert answer.is_displayed() and width_of(page) <= width
        here = page.find_element("css selector", "#map [aria-current=step]").rect
        assert 0 <= here["x"] and here["x"] + here["width"] <= width, "the map does not show the current step"
        page.find_element("id", "tournext").click()
    assert page.find_elements("css selector", ".stop") == [] and heading(page) == "the update"


def test_a_link_opens_a_stop_of_the_tour(browser, url):
    with opened(browser, f"{url}#tour=5"):
        assert "stop 5 of 12" in texts(browser, ".stoptop b")[0] and heading(browser) == "block 2 · gelu"
        assert not browser.find_element("css selector", "#banner ul").is_displayed()
        browser.find_element("css selector", ".stoptop button").click()
        assert "stop 4 of 12" in texts(browser, ".stoptop b")[0]
        browser.find_element("id", "tourleave").click()
        assert browser.find_elements("css selector", ".stop, .look") == [] and "tour" not in browser.current_url


def test_a_stops_button_scrolls_to_the_named_value(page):
    page.execute_script("openStop(8)")
    button = page.find_element("css selector", "button.show")
    button.click()
    place = page.find_element("css selector", f"main .v.look[data-name='{button.text}']")
    top = page.execute_script("return arguments[0].getBoundingClientRect().top", place)
    assert 60 < top < 844


def test_the_page_steps_and_has_its_tour_in_a_notebooks_frame(browser, url, tmp_path):
    page = (tmp_path / "notebook.html").resolve()
    cell = framed(Path(url.removeprefix("file://")).read_text(encoding="utf-8"))
    page.write_text(f"<!doctype html><body style='width:860px'>{cell}", encoding="utf-8")
    with opened(browser, page.as_uri()):  # logs nothing
        browser.switch_to.frame(0)
        browser.find_element("id", "next").click()
        assert heading(browser) == "embedding"
        browser.find_element("id", "starttour").click()
        browser.find_element("id", "tournext").click()
        assert "stop 2 of 12" in texts(browser, ".stoptop b")[0]
        left, right = (browser.find_element("css selector", f".column.{side}").rect for side in "fb")
        assert left["y"] == right["y"]
        browser.switch_to.default_content()


def test_the_reading_guide_closes_on_the_first_step_and_is_closed_on_a_phone(page):
    assert page.find_element("css selector", "#banner ul").is_displayed()
    press(page, RIGHT)
    assert not page.find_element("css selector", "#banner ul").is_displayed()
    resized(page, 390)
    page.get(page.current_url.split("#")[0])
    page.refresh()
    assert not page.find_element("css selector", "#banner ul").is_displayed()


def test_the_page_counts_the_traces_steps(page, trace):
    press(page, RIGHT)
    assert texts(page, "#where") == [f"forward → step 1 of {len(trace.steps)}"]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_single_operation_has_no_map_and_shows_its_values(browser, tmp_path, width):
    (tmp_path / "op.html").write_text(operation_page(trace_operation(*examples()["attention"])), encoding="utf-8")
    with opened(browser, (tmp_path / "op.html").as_uri()):
        resized(browser, width)
        assert heading(browser) == "attention" and width_of(browser) <= width
        assert (
            not browser.find_element("id", "map").is_displayed()
            and not browser.find_element("id", "next").is_displayed()
        )
        assert browser.find_elements("css selector", ".tables td")
