"""The tour's stops exist, are in order, and state the message's values."""

import re

import numpy as np
import pytest

from numpygpt import Classifier
from numpygpt.study.trace.tour import tour
from numpygpt.study.trace.update import update_of

TEXT = "Call now to call"


def stops_of(trace):
    return tour(trace, update_of(trace))


def said(number):
    return f"{number:.3g}".replace("-", "−")


@pytest.fixture(scope="module")
def stops(trace):
    return stops_of(trace)


def stop(stops, title):
    return next(stop for stop in stops if title in stop.title)


def test_twelve_stops_lead_from_the_loss_to_the_embedding_and_the_update(trace, stops):
    names = [step.name for step in trace.steps]
    assert len(stops) == 12 and stops[0].step == "cross_entropy"
    assert [found.step for found in stops[-2:]] == ["embedding", "update"]
    places = [names.index(found.step) for found in stops[:-1]]
    assert places == sorted(places, reverse=True)
    for found in stops:
        assert re.search(r"\d", found.question) and re.search(r"\d", found.answer), found.title
        names_there = trace[found.step].names() if found.step != "update" else ["g", "p"]
        assert set(found.look) <= set(names_there) and found.look


def test_the_stops_state_the_messages_values(trace, stops):
    dlogits = trace["cross_entropy"]["dlogits"][0]
    assert all(said(number) in stop(stops, "p − y").question for number in dlogits)
    dx = trace["take_rows"]["dx"]
    zeros = int((np.abs(dx).max(axis=1) == 0).sum())
    assert f"{zeros} of the {len(dx)} rows of dx are 0" in stop(stops, "one row alone").question
    assert said(trace["ln_f"]["dx"][0].sum()) in stop(stops, "rows of dx sum to 0").question
    x, y = trace["h.2.gelu"]["x"][-1], trace["h.2.gelu"]
    flat = np.abs(y["dx"][-1] / y["dy"][-1]) < 0.05
    assert f"At {flat.sum()} of the {len(x)} numbers" in stop(stops, "GELU").question
    update = update_of(trace)
    assert said(update.before) in stop(stops, "update").answer and said(update.after) in stop(stops, "update").answer


def test_a_tokens_space_is_visible_as_in_the_list_of_tokens(trace, stops):
    said = "".join(stop.text + stop.question + stop.answer for stop in stops)
    said += trace["embedding"].sums[0].what
    assert "“ " not in said and "“␣" in said


def test_a_value_receives_its_weight_times_dy(trace, stops):
    found = stop(stops, "to the values")
    head, row, token = (
        int(re.search(pattern, found.text)[1]) for pattern in (r"head (\d+)", r"row (\d+)", r"value of row (\d+)")
    )
    column = int(re.search(r"column (\d+)", found.question)[1])
    received = trace["h.2.attention"]["dv"][0, head, token, column]
    assert f"= {said(received)}: the share" in found.answer


def test_the_tours_score_gradient_is_weight_times_difference_from_the_mean(stops):
    answer = stop(stops, "dscores sum to 0").answer.replace("−", "-")
    numbers = re.search(r"Here: (\S+) × \((\S+) - (\S+)\) = (\S+)\. ", answer).groups()
    weight, dweight, mean, dscore = (float(number.strip("()")) for number in numbers)
    assert weight * (dweight - mean) == pytest.approx(dscore, rel=0.02)


def test_the_tour_counts_the_queries_and_keys_with_a_gradient(gpt, trace):
    for traced, why in (
        (trace, "Only the query of the row that is read"),
        (gpt.trace(TEXT), "Row 0 sees itself alone"),
    ):
        found, step = stop(stops_of(traced), "queries and keys"), traced["h.2.attention"]
        asking, asked = (int(np.abs(step[name]).max(axis=(0, 1, 3)).astype(bool).sum()) for name in ("dq", "dk"))
        assert f"in {asking} of {step['dq'].shape[2]} rows, dk in {asked}" in found.question
        assert found.answer.startswith(why)


@pytest.mark.parametrize(
    "trainable, first, last",
    [
        ("all", "cross_entropy", "embedding"),
        ("last_block", "cross_entropy", "h.2.ln_1"),
        ("head", "cross_entropy", "head"),
    ],
)
@pytest.mark.parametrize("folded", [False, True])
def test_the_tour_skips_steps_without_a_gradient(gpt, trainable, first, last, folded):
    clf = Classifier(gpt, ["ham", "order", "spam"], trainable, pad="end", position="last")
    trace = clf.trace(TEXT, "order", folded=folded)
    found = stops_of(trace)
    assert (found[0].step, found[-2].step) == (first, last)
    assert all(trace[each.step].backward for each in found[:-1])


def test_mean_pooling_and_a_language_model_have_their_own_stops(gpt):
    mean = Classifier(gpt, ["ham", "spam"], "all", position="mean")
    assert "mean_rows" in [found.step for found in stops_of(mean.trace(TEXT, "spam"))]
    language = stops_of(gpt.trace(TEXT))
    assert language[0].step == "output_loss" and "output layer" in stop(language, "embedding").answer


def test_a_message_of_one_word_has_a_tour(clf):
    found = stops_of(clf.trace("Hello", "ham"))
    assert len(found) >= 11 and "whole numbers" in stop(found, "embedding").answer
