"""The served page in a real browser."""

import re
import threading
import time

import numpy as np
import pandas as pd
import pytest

import numpygpt
from numpygpt.explain.attribution import after_each_token
from numpygpt.explain.because import Teachers
from numpygpt.explain.colours import channels, colours
from numpygpt.explain.served import Served
from numpygpt.explain.server import Server
from numpygpt.model.config import Config
from numpygpt.text.split import SplitSet, write_split
from tests.browsing import needs_chromium, opened, resized, webdriver
from tests.tiny import save_model

wait = pytest.importorskip("selenium.webdriver.support.wait")
pytestmark = needs_chromium

RIGHT, END, TAB = "\ue014", "\ue010", "\ue004"
MESSAGE = "Pay <b>now</b> or call 07700 900123"
PAD = 48
SLOW = 1.5  # seconds for the explanation of the message "slow"


@pytest.fixture(scope="module")
def clf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, Config(300, 64, 8, 2, 2))
    clf = numpygpt.Classifier(numpygpt.load(folder), ["ham", "order", "spam"], pad=PAD)
    clf.params["head.bias"] -= clf.logits(["call now", MESSAGE, "home at six", "sorry"]).mean(
        axis=0
    )  # so that several labels win
    clf.seen_tokens = np.ones(clf.config.vocab_size, bool)
    clf.seen_tokens[clf.gpt.encode("你好吗")] = False
    return clf


@pytest.fixture(scope="module")
def url(clf, tmp_path_factory):
    run = tmp_path_factory.mktemp("serve") / "001"
    clf.save(run)
    sets = [pd.DataFrame({"Label": clf.labels, "Text": [f"{label} <i>one</i>" for label in clf.labels]})] * 3
    write_split(run, sets, clf.labels)
    trained = numpygpt.load_run(run)
    served = Served(trained, run, lambda: Teachers(trained, SplitSet(run / "train.csv", clf.labels), method="head"))
    explain = served.explain
    served.explain = lambda text, **how: [time.sleep(SLOW * (text == "slow")), explain(text, **how)][1]
    server = Server(served, port=0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.address
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(browser, url):
    """Open the page. Its log and requests are checked after the test."""
    with opened(browser, url) as asked:
        until(browser, lambda: browser.find_elements("css selector", ".ask"))
        yield browser
    assert all(address.startswith((url, "about:", "data:")) for address in asked)


def until(page, found):
    return wait.WebDriverWait(page, 60, 0.05).until(lambda _: found())


def typed(page, text, number=0):
    """Type a text into a card and return it when the complete answer has arrived."""
    card = page.find_elements("css selector", ".ask")[number]
    box = card.find_element("css selector", "textarea")
    box.clear()
    box.send_keys(text)
    until_answered(page, number)
    return card


def until_answered(page, number=0):
    answered = "return asks[arguments[0]].why && asks[arguments[0]].curve && true"
    until(page, lambda: page.execute_script(answered, number) and not is_waiting(page))


def is_waiting(page):
    return page.find_elements("css selector", ".waiting")


def shown(card):
    """Return the message as its tokens show it."""
    tokens = card.find_elements("css selector", ".pieces span:not(.pad)")
    return "".join(token.text for token in tokens).replace("␣", " ")


def unfolded(card):
    """Return the text of the card's folded numbers."""
    card.find_element("css selector", "details > summary").click()
    return card.find_element("css selector", "details").text.replace("−", "-")


def rgb(page, node, property="background-color"):
    """Return the channels of a node's computed colour."""
    value = page.execute_script("return getComputedStyle(arguments[0])[arguments[1]]", node, property)
    return tuple(map(int, re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", value).groups()))


def test_the_page_opens_with_an_example_already_answered(page, clf):
    card = page.find_element("css selector", ".ask")
    until_answered(page)
    box = card.find_element("css selector", "textarea")
    assert shown(card) == box.get_attribute("value") == "spam <i>one</i>"
    assert card.find_element("css selector", ".headline").text.split("\n")[0] in clf.labels
    bottom = "return arguments[0].getBoundingClientRect().bottom"
    assert page.execute_script(bottom, card.find_element("css selector", "svg")) < 844  # without scrolling
    webdriver.ActionChains(page).send_keys("x").perform()
    assert box.get_attribute("value") == "x"  # typing replaces it


def test_a_message_gets_its_label_probabilities_and_folded_margin_and_logits(page, clf):
    card = typed(page, "call now")
    row = clf.predict(["call now"]).iloc[0]
    headline = card.find_element("css selector", ".headline").text.split("\n")
    assert headline == [row["label"], f"{100 * row[row['label']]:.2f} %"]
    cells = [cell.text for cell in card.find_elements("css selector", ".bars > :not(.track)")]
    assert cells == [text for label in clf.labels for text in (label, f"{100 * row[label]:.2f} %")]
    assert not any(word in card.text for word in ("margin", "baseline", "points", "logit of"))
    logits = dict(zip(clf.labels, clf.logits(["call now"])[0]))
    answer, runner_up = sorted(logits, key=lambda label: -logits[label])[:2]
    said = f"the logit of {answer}, {logits[answer]:.3f}, minus that of {runner_up}, {logits[runner_up]:.3f}: "
    assert said + f"{logits[answer] - logits[runner_up]:+.3f}" in unfolded(card)


def test_each_label_has_one_colour_everywhere(page, clf):
    of = {label: channels(colour) for label, colour in colours(clf.labels).items()}
    winners = set()
    for text in ("call now", MESSAGE, "home at six", "Track your parcel", "a", "sorry"):
        card = typed(page, text)
        found = clf.explain(text)
        winners.add(found.label)
        headline, *bars = card.find_elements("css selector", ".headline .dot, .bars .dot, .bars .track i")
        assert rgb(page, headline) == of[found.label]
        assert [rgb(page, bar) for bar in bars] == [of[label] for label in clf.labels for _ in range(2)]
        keys = card.find_elements("css selector", ".key span")
        assert [key.text for key in keys] == [f"speaks for {found.label}", f"speaks for {found.runner_up}"]
        key_colours = [rgb(page, key.find_element("css selector", ".dot")) for key in keys]
        assert key_colours == [of[found.label], of[found.runner_up]]
        hexes = colours(clf.labels)
        own = int((~found.padding).sum())
        spans = card.find_elements("css selector", ".pieces span")[:own]
        for span, value in zip(spans, found.integrated):
            style, speaks_for = span.get_attribute("style"), found.label if value > 0 else found.runner_up
            shaded = "rgb({}, {}, {})".format(*of[speaks_for])
            assert hexes[speaks_for] in style or shaded in style
        lines = card.find_elements("css selector", "svg polyline")
        assert [rgb(page, line, "stroke") for line in lines] == [*of.values(), of[found.label]]
    assert len(winners) > 1


def test_the_curve_follows_the_answer_unless_a_label_is_chosen(page, clf):
    titles = {}
    for text in ("call now", MESSAGE, "home at six", "Track your parcel", "a", "sorry"):
        card = typed(page, text)
        title = card.find_elements("css selector", "h3")[1].text
        titles[title] = title == f"The probability of {clf.predict([text])['label'][0]} after each token"
    assert all(titles.values()) and len(titles) > 1
    page.find_elements("css selector", "#label option")[2].click()
    assert card.find_elements("css selector", "h3")[1].text == "The probability of order after each token"


def test_a_long_computation_shows_progress(page):
    card = typed(page, "call now")
    visible = "return [...document.querySelectorAll('.busy')].filter(n => getComputedStyle(n).display !== 'none')"
    assert page.execute_script(visible) == []
    page.execute_script("asks[0].set('slow')")
    until(page, lambda: card.find_elements("css selector", "h3.waiting .busy"))
    until(page, lambda: "led to this answer computing …" in card.text)
    shown = page.execute_script("return [asks[0].answer.label, asks[0].curveName.textContent, asks[0].why]")
    assert shown[1:] == [f"The probability of {shown[0]} after each token", None], "named before it is drawn"
    until(page, lambda: not is_waiting(page))
    assert page.execute_script(visible) == [] and "computing" not in card.text


def test_a_message_of_unseen_tokens_gets_a_remark(page):
    card = typed(page, "你好吗")
    note = card.find_element("css selector", ".note").text
    assert note == "100% of its tokens occur in no training message. Do not rely on the answer."
    assert typed(page, "call now").find_element("css selector", ".note").text == ""


def test_nothing_is_clipped_at_1280_pixels(page):
    page.find_element("css selector", "#measured summary").click()
    until(page, lambda: page.find_elements("css selector", ".mistakes li"))
    page.find_element("id", "add").click()
    for number, text in enumerate((MESSAGE, "Donaudampfschifffahrtsgesellschaft " * 3)):
        unfolded(typed(page, text, number))
    cut = """return [...document.querySelectorAll("body *")].filter(node =>
        node.scrollWidth > node.clientWidth + 1 && node.clientWidth && getComputedStyle(node).overflowX !== "visible"
    ).map(node => node.outerHTML.slice(0, 99))"""
    assert page.execute_script(cut) == []
    beyond = """return [...document.querySelectorAll("svg text")].filter(node => {
        const box = node.getBoundingClientRect(), svg = node.closest("svg").getBoundingClientRect();
        return box.left < svg.left - 1 || box.right > svg.right + 1 || box.bottom > svg.bottom + 1;
    }).map(node => node.textContent)"""
    assert page.execute_script(beyond) == []


def test_markup_in_messages_and_test_set_is_escaped(page):
    card = typed(page, MESSAGE)
    assert shown(card) == MESSAGE
    page.find_element("css selector", "#measured summary").click()
    until(page, lambda: page.find_elements("css selector", ".mistakes li"))
    assert "<i>one</i>" in page.find_element("css selector", ".mistakes").text
    assert (
        page.find_elements(
            "css selector", "main b:not(.headline b):not(.read b):not(#figures > p b), main i:not(.dot):not(.track i)"
        )
        == []
    )


@pytest.mark.parametrize("method", ["integrated", "gradient_input", "deletion"])
def test_the_keyboard_reaches_every_tokens_numbers(page, clf, method):
    card = typed(page, MESSAGE)
    page.find_element("css selector", f"#method option[value={method}]").click()
    table = clf.explain(MESSAGE).table()
    box = card.find_element("css selector", "textarea")
    box.send_keys(TAB)
    while page.switch_to.active_element.tag_name == "button":
        page.switch_to.active_element.send_keys(TAB)
    tokens = page.switch_to.active_element
    assert "pieces" in tokens.get_attribute("class")
    tokens.send_keys(RIGHT)
    read = card.find_element("css selector", ".read").text.replace("−", "-")
    row = table.iloc[1]
    assert read.startswith(f"{row['token'].replace(' ', '␣')} token 2 of {PAD}: integrated {row['integrated']:+.3f}")
    assert f"gradient × input {row['gradient_input']:+.3f}, lost when deleted {row['deletion']:+.3f}; after it" in read
    tokens.send_keys(END)
    assert "cannot be deleted" in card.find_element("css selector", ".read").text
    strongest = table[method].abs().iloc[: (~table["padding"]).sum()].idxmax()
    span = card.find_elements("css selector", ".pieces span")[strongest]
    assert "65%" in span.get_attribute("style")


def test_pointing_at_a_token_marks_it_on_the_curve_and_vice_versa(page):
    card = typed(page, MESSAGE)
    span = card.find_elements("css selector", ".pieces span")[2]
    webdriver.ActionChains(page).move_to_element(span).perform()
    marked = card.find_element("css selector", "svg .tokens .at")
    assert marked.get_attribute("data-t") == "2" and card.find_element("css selector", "svg line.at")
    dot = card.find_elements("css selector", "svg .step")[4]
    webdriver.ActionChains(page).move_to_element(dot).perform()
    assert (
        card.find_element("css selector", ".pieces .at").text
        == card.find_elements("css selector", ".pieces span")[4].text
    )
    assert "token 5 of" in card.find_element("css selector", ".read").text


def test_the_curve_includes_the_padding_and_states_its_effect(page, clf):
    card = typed(page, MESSAGE)
    logits = after_each_token(clf, MESSAGE)
    own = int((~clf.explain(MESSAGE).padding).sum())
    assert len(card.find_elements("css selector", "svg .step")) == PAD
    assert card.find_element("css selector", "svg rect.padding")
    caption = card.text
    assert (
        f"padding, {PAD - own} tokens" in caption and f"It reads {PAD} tokens: after the message's own {own}" in caption
    )
    leads = [clf.labels[i] for i in logits.argmax(axis=1)]
    changed = f"the padding changed the answer from {leads[own - 1]} to {leads[-1]}"
    assert (changed in caption) == (leads[own - 1] != leads[-1])


def test_integrated_gradients_show_their_sum_for_each_baseline(page, clf):
    card = typed(page, MESSAGE)
    unfolded(card)
    page.find_element("css selector", "#more summary").click()
    for baseline in ("padding", "zero"):
        page.find_element("css selector", f"#baseline option[value={baseline}]").click()
        found = clf.explain(MESSAGE, baseline)
        said = f"Integrated gradients add up to {found.integrated.sum():+.3f}".replace("-", "−")
        until(page, lambda: said in card.text)  # noqa: B023
        assert f"{found.baseline_margin:+.3f}".replace("-", "−") in card.text


def test_two_messages_are_compared_and_keep_their_answers(page, clf):
    typed(page, "call now")
    page.find_element("id", "add").click()
    second = typed(page, "home at six", 1)
    first = page.find_elements("css selector", ".ask")[0]
    assert (shown(first), shown(second)) == ("call now", "home at six")
    assert first.rect["y"] == second.rect["y"] and first.rect["x"] < second.rect["x"]
    page.find_element("id", "add").click()
    assert len(page.find_elements("css selector", ".ask")) == 1


def test_a_refused_message_shows_the_error_and_the_next_is_answered(page):
    typed(page, "call now")
    page.execute_script("asks[0].set('call '.repeat(20000))")
    until(page, lambda: "send at most 65,536" in page.find_element("css selector", ".error").text)
    page.execute_script("asks[0].set('home '.repeat(100))")
    until(page, lambda: "Cut: this run reads the first" in page.find_element("css selector", ".note").text)
    assert page.find_element("css selector", ".error").text == ""
    until(page, lambda: not is_waiting(page))
    log = page.get_log("browser")
    assert len(log) == 1 and "413" in log[0]["message"]


def test_the_runs_figures_are_shown_and_a_mistake_links_to_its_explanation(page, clf):
    page.find_element("css selector", "#measured summary").click()
    until(page, lambda: page.find_elements("css selector", ".mistakes li"))
    found = clf.evaluate([f"{label} <i>one</i>" for label in clf.labels], clf.labels)
    text = found.mistakes[0]["text"]
    figures = page.find_element("id", "figures").text
    assert f"{found.accuracy * 100:.2f} % right (95 % interval {found.interval[0] * 100:.2f} %" in figures
    assert "trained on the same messages: 100.00 % right" in figures
    page.find_element("css selector", ".mistakes button").click()
    card = page.find_element("css selector", ".ask")
    until_answered(page)
    assert shown(card) == text


@pytest.mark.parametrize("dark", [False, True])
def test_the_served_page_fits_a_phones_screen(page, dark):
    resized(page, 390, dark)
    page.find_element("css selector", "#measured summary").click()
    until(page, lambda: page.find_elements("css selector", ".mistakes li"))
    card = typed(page, MESSAGE + "x" * 60)
    page.find_element("css selector", ".ask summary").click()
    page.find_element("id", "add").click()
    typed(page, "home at six", 1)
    for width in (390, 320):
        resized(page, width, dark)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 23, 26)") == dark and card.is_displayed()


def test_the_training_messages_behind_an_answer_are_folded_and_updated(page, clf):
    card = typed(page, "call now")
    taught = card.find_elements("css selector", "details")[-1]
    assert not taught.find_elements("css selector", "li")
    taught.find_element("css selector", "summary").click()
    until(page, lambda: taught.find_elements("css selector", "li"))
    label = clf.predict(["call now"])["label"][0]
    titles = [title.text for title in taught.find_elements("css selector", "h3")]
    assert [title.split(":")[0] for title in titles] == [f"for {label}", f"against {label}"]
    assert "<i>one</i>" in taught.text and "influence function of the head" in taught.text
    before = taught.text
    typed(page, "home at six, love")
    until(page, lambda: "computing" not in taught.text and taught.text != before)
    asked = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [address.rpartition("/")[2] for address in asked[-3:]] == ["curve", "explain", "because"], "the slowest last"
