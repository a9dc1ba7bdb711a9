"""The trace's page in a real browser, opened from disk."""

import re

import pytest

import numpygpt
from tests.browsing import at, heading, needs_chromium, opened, press, resized, texts, webdriver

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def trace():
    clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], "last_block", pad="end", position="last")
    return clf.trace("Pay the fee now, pay <b>now</b> \u05e9\u05dc\u05d5\u05dd", "spam")


@pytest.fixture(scope="module")
def url(trace, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "trace.html"
    trace.save(path)
    return path.as_uri()


@pytest.fixture
def page(browser, url):
    """Open the page. Its log and requests are checked after the test."""
    with opened(browser, url) as asked:
        yield browser
    assert set(asked) <= {url}


def last(trace):
    return f"block {trace.config.n_layer - 1}"


def test_arrow_keys_step_from_the_tokens_to_the_loss_and_back_to_the_update(page, trace):
    walk, steps = [heading(page)], len(trace.steps) + 1
    for _ in range(2 * steps):
        press(page, "\ue014")  # right
        walk.append(heading(page))
    assert walk[0] == "tokens" and walk[steps - 1] == walk[steps] == "loss" and walk[-1] == "the update"
    assert walk[:steps] == walk[steps:-1][::-1]
    assert not page.find_element("id", "next").is_enabled()
    press(page, "\ue012")  # left
    assert heading(page) == "tokens" and "back" in page.find_element("css selector", "body").get_attribute("class")


def test_the_page_shows_where_backpropagation_ends(page, trace):
    at(page, f"{last(trace)} · layernorm (ln_1)")
    assert "Backpropagation stops here" in texts(page, ".column.b .ends")[-1]
    at(page, "block 0 · layernorm (ln_1)")
    assert "No gradient reaches this step" in texts(page, ".column.b .none")[0]
    assert page.find_elements("css selector", ".column.b .v") == []
    dimmed = texts(page, ".column.b .idle h4")
    assert len(dimmed) == 3 and all("nothing here or below is trainable" in title for title in dimmed)


def test_pointing_at_a_name_highlights_it_in_both_columns(page, trace):
    at(page, f"{last(trace)} · layernorm (ln_2)")
    name = next(n for n in page.find_elements("css selector", ".column.f .n") if n.text == "rstd")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", name)
    webdriver.ActionChains(page).move_to_element(name).perform()
    lit = {side: texts(page, f".column.{side} .n.lit") for side in "fb"}
    assert set(lit["f"]) == set(lit["b"]) == {"rstd"} and len(lit["f"]) >= 2
    assert page.find_elements("css selector", ".column.f .v.lit")


def test_pointing_at_gain_highlights_its_gradient_function(page, trace):
    at(page, f"{last(trace)} · layernorm (ln_2)")
    name = next(n for n in page.find_elements("css selector", ".column.f .n") if n.text == "gain")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", name)
    webdriver.ActionChains(page).move_to_element(name).perform()
    lit = page.find_elements("css selector", ".column.b .function.lit")
    assert [box.get_attribute("data-fn").split(":")[1] for box in lit] == ["dgain"]


def test_an_inner_function_shows_its_call_and_constants_show_values(page, trace):
    at(page, f"{last(trace)} · attention")
    titles = texts(page, ".column.f .function h4")
    assert any(re.fullmatch(r"softmax, called in line \d+ of dot_product_attention", title) for title in titles)
    at(page, f"{last(trace)} · gelu")
    assert {"SLOPE = 0.7978845608", "CUBIC = 0.044715"} <= set(texts(page, ".column.f .v"))


def test_gelus_curve_shows_the_messages_values(page, trace):
    at(page, f"{last(trace)} · gelu")
    dots = "return [...document.querySelectorAll('figure')].map(f => f.querySelectorAll('.dot').length)"
    curve, slope = page.execute_script(dots)
    assert curve == slope > 100
    assert "of the" in texts(page, "section.card p")[0]


def test_the_code_is_shown_with_its_line_numbers(page, trace):
    at(page, f"{last(trace)} · gelu")
    function = trace[f"h.{trace.config.n_layer - 1}.gelu"].forward[0].function
    for line in page.find_elements("css selector", ".code .l[data-line]"):
        number = int(line.get_attribute("data-line"))
        shown = line.find_element("css selector", ".t").get_attribute("textContent")
        assert shown == function.lines[number - function.first]


def test_a_heatmap_opens_with_numpys_values(page, trace):
    at(page, f"{last(trace)} · layernorm (ln_2)")
    button = next(v for v in page.find_elements("css selector", ".column.f button.v") if v.text.startswith("xhat"))
    page.execute_script("arguments[0].click()", button)
    grid = page.find_element("id", "lmap")
    grid.send_keys("\ue015" * 3)  # down
    shown = texts(page, "#lread")[0]
    xhat = trace[f"h.{trace.config.n_layer - 1}.ln_2"]["xhat"]
    assert re.match(r"xhat\[3 “.*”, 0\] = ", shown)
    assert float(shown.split("= ")[1]) == pytest.approx(xhat[3, 0], rel=1e-3)
    cell = page.execute_script("return [0, big.top, big.width, big.height]")
    box = page.execute_script("return document.getElementById('lmap').getBoundingClientRect()")
    pointer = webdriver.ActionChains(page)
    pointer.w3c_actions.pointer_action.move_to_location(
        int(box["x"] + 2.5 * cell[2]), int(box["y"] + cell[1] + 5.5 * cell[3])
    )
    pointer.perform()
    row, column = map(int, re.search(r"\[(\d+) .*, (\d+)\]", texts(page, "#lread")[0]).groups())
    assert row == 5 and column > 0
    assert float(texts(page, "#lread")[0].split("= ")[1]) == pytest.approx(xhat[row, column], rel=1e-3)
    page.find_element("id", "lclose").click()
    assert not page.find_element("id", "large").is_displayed()


def test_attention_is_shown_as_one_triangle_per_head(page, trace):
    at(page, f"{last(trace)} · attention")
    button = next(v for v in page.find_elements("css selector", ".column.f button.v") if v.text.startswith("weights"))
    page.execute_script("arguments[0].click()", button)
    heads = page.find_elements("css selector", "#lslice option")
    assert len(heads) == trace.config.n_head
    heads[-1].click()
    page.find_element("id", "lmap").send_keys("\ue015" * 2)
    weights = trace[f"h.{trace.config.n_layer - 1}.attention"]["weights"]
    assert float(texts(page, "#lread")[0].split("= ")[1]) == pytest.approx(weights[0, -1, 2, 0], rel=1e-3)
    alpha = "return [...document.querySelectorAll('.column.f button.v')].find(v => v.textContent.startsWith('weights'))"
    alpha += ".querySelector('canvas').getContext('2d').getImageData(1, 0, 1, 1).data[3]"
    assert page.execute_script(alpha) == 0
    page.find_element("id", "lclose").click()


def test_the_reader_chooses_the_checked_entry(page, trace):
    at(page, "head")
    box = page.find_element("css selector", ".check")
    options = box.find_elements("css selector", "option")
    assert len(options) == 10 and sum("the largest error" in option.text for option in options) == 1
    before = box.find_element("css selector", "dd").text
    options[1].click()
    assert box.find_element("css selector", "dd").text != before and "digits agree" in box.text
    assert page.find_elements("css selector", ".wrong") == []


def test_the_chart_and_its_text_follow_the_chosen_entry(page, trace):
    at(page, f"{last(trace)} · attention")
    chart = "const [line, words] = ['.proof polyline', '.proof svg + p'].map(name => document.querySelector(name));"
    chart += "return [line.getAttribute('points'), words.textContent]"
    options = page.find_elements("css selector", ".check option")
    assert "of the query" in options[0].text
    before = page.execute_script(chart)
    options[-1].click()
    points, words = page.execute_script(chart)
    assert points != before[0] and words != before[1] and f"dqkv{options[-1].text[3:]}".split(" ·")[0] in words
    assert "of the value" in words and re.search(r"best at h = 1e-\d+", words)


def test_a_wide_array_scrolls_on_a_phone_with_fixed_row_names(page, trace):
    resized(page, 390)
    at(page, f"{last(trace)} · layernorm (ln_2)")
    page.execute_script("document.querySelector('.column.f button.v').click()")
    cell, wide, room = page.execute_script("const s = $('lscroll'); return [big.width, s.scrollWidth, s.clientWidth]")
    assert cell >= 9 and wide > room
    page.find_element("id", "lmap").send_keys("\ue014" * 40)  # right
    assert page.execute_script("return $('lscroll').scrollLeft") > 0
    assert page.execute_script(
        "return $('llabels').getBoundingClientRect().left >= $('lscroll').getBoundingClientRect().left"
    )
    page.find_element("id", "lclose").click()


def test_signs_and_directions_have_different_colours_and_a_key(page, trace):
    names = ["--forward", "--backward", "--neg", "--pos"]
    for dark in (False, True):
        resized(page, 1280, dark)
        assert len(set(page.execute_script("return arguments[0].map(color)", names))) == 4
        assert page.find_element("css selector", ".key .scale").is_displayed()


def test_both_columns_fit_side_by_side_in_a_notebook(page, trace):
    resized(page, 860)
    at(page, f"{last(trace)} · layernorm (ln_2)")
    left, right = (page.find_element("css selector", f".column.{side}").rect for side in "fb")
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]


def test_the_printed_page_has_every_step(page, trace):
    printed = "return [...document.querySelectorAll('.printed h2')].map(heading => heading.textContent)"
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    found = page.execute_script(printed)
    assert len(found) == len(trace.steps) + 2 and (found[0], found[-1]) == ("tokens", "the update")
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    assert page.execute_script(printed) == [] and heading(page) == "tokens"


def test_a_message_with_markup_is_shown_as_text(page, trace):
    assert page.find_elements("css selector", ".pieces b") == []
    assert "".join(texts(page, ".pieces span")).startswith("P")


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_traces_page_fits_a_phones_screen(page, trace, dark):
    resized(page, 390, dark)
    for position in range(2 * (len(trace.steps) + 1) + 1):
        page.execute_script(f"go({position}, true)")
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390, heading(page)
