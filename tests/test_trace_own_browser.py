"""A learner's operation in a real browser: wrong cells are marked at three widths, without errors or requests."""

import pytest

import numpygpt
from numpygpt.study import exercises
from tests.browsing import needs_chromium, opened, resized

pytestmark = needs_chromium


def linear(x, weight, bias):
    def dx(dy):
        right = dy @ weight.T
        right[0, 1] += 1
        return right

    def dweight(dy):
        return x.T @ dy

    def dbias(dy):
        return 2 * dy.sum(axis=0)

    return x @ weight + bias, (dx, dweight, dbias)


@pytest.mark.parametrize("width", [1280, pytest.param(860, marks=pytest.mark.slow), 390])
def test_wrong_cells_are_marked_above_the_correct_array(browser, tmp_path, width):
    numpygpt.check(linear).trace().save(tmp_path / "mine.html")
    url = (tmp_path / "mine.html").as_uri()
    with opened(browser, url) as asked:
        resized(browser, width)
        found = browser.execute_script("""
            const all = selector => [...document.querySelectorAll(selector)];
            return {
                bad: all("td.bad").length, said: all(".wrongs").map(node => node.textContent),
                names: all(".v .name").map(node => node.textContent).filter(name => name.includes("should be")),
                wide: document.documentElement.scrollWidth, charts: all("svg.curve").length,
            }""")
    assert found["bad"] == 4 and found["said"] == ["✗ wrong in 1 of 20 entries", "✗ wrong in 3 of 3 entries"]
    assert found["names"] == ["right, as it should be", "dbias, as it should be"]
    assert found["wide"] <= width and found["charts"] == 0 and set(asked) <= {url}


def test_a_step_of_an_optimizer_has_the_check_in_the_place_of_a_way_back(browser, tmp_path):
    numpygpt.check(exercises.exercise("adamw").function).trace().save(tmp_path / "mine.html")
    with opened(browser, (tmp_path / "mine.html").as_uri()):
        titles = [title.text for title in browser.find_elements("css selector", ".column h3")]
    assert titles == ["forward →", "the check"]
