"""The trace's page shows the source code and NumPy's values, escapes text, and stays small."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

import numpygpt
from numpygpt import Classifier
from numpygpt.study.trace import page as page_module
from numpygpt.study.trace.arrays import LIMIT, Arrays
from numpygpt.study.trace.operation import examples, trace_operation
from numpygpt.study.trace.page import framed, operation_page, page, page_data, save
from numpygpt.system.errors import InputError

ROOT = Path(numpygpt.__file__).parents[1]


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def numbers(entry):
    """Return the page's values of an array, as its script reads them."""
    data = np.frombuffer(base64.b64decode(entry["c"]), np.uint8).reshape(-1, 3)
    padded = np.concatenate([data, np.zeros((len(data), 1), np.uint8)], axis=1)
    return np.frombuffer(padded.tobytes(), ">f4").reshape(entry["d"])


@pytest.fixture(scope="module")
def text(trace):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "ENTRIES", ((float("inf"), 2),))  # ten entries of each gradient take long
        return page(trace)


@pytest.fixture(scope="module")
def data(text):
    return data_of(text)


def test_the_page_shows_the_source_at_its_line_numbers(data):
    assert {f["name"] for f in data["functions"]} >= {
        "layernorm",
        "attention",
        "softmax",
        "block",
        "sum_by_number",
        "update",
        "dgain",
        "d_scores",
    }
    for function in data["functions"]:
        lines = (ROOT / function["file"]).read_text(encoding="utf-8").splitlines()
        first = function["first"]
        assert function["lines"] == lines[first - 1 : first - 1 + len(function["lines"])]
        assert re.match(rf"\s*def {function['name']}\(", function["lines"][0])


def test_each_value_is_under_the_line_that_assigns_it(data):
    for step in data["steps"]:
        for call in step["calls"] + (step["back"] or []):
            function = data["functions"][call["f"]]
            for run in call["runs"]:
                for line, passes in run["lines"].items():
                    source = "\n".join(function["lines"][: int(line) - function["first"] + 1])
                    for name, _ in passes[0]:
                        made = name in ("result", function["name"]) or re.search(rf"\b{re.escape(name)}", source)
                        assert made, (step["name"], line, name)


@pytest.mark.slow
def test_the_same_trace_gives_the_same_page(gpt):
    clf = Classifier(gpt, ["ham", "spam"], "last_block")
    first, again = (page(clf.trace("Call now", "spam")) for _ in range(2))
    assert first == again


@pytest.mark.slow
def test_a_page_of_thirty_tokens_stays_under_four_megabytes(clf, monkeypatch):
    monkeypatch.setattr(page_module, "ENTRIES", ((float("inf"), 1),))  # more entries are slow and add few bytes
    words = (
        2 * "Your parcel is held. Pay the fee now and your parcel is sent. Call me at home, will you? Thanks".split()
    )
    count = next(n for n in range(len(words)) if len(clf.encode([" ".join(words[:n] or ["Hi"])])[0]) >= 30)
    trace = clf.trace(" ".join(words[:count]), "spam")
    assert len(page(trace).encode()) <= 3_800_000


def test_the_pages_values_equal_numpys_to_four_digits(trace, data):
    step = next(step for step in data["steps"] if step["name"] == "h.1.ln_1")
    run = step["calls"][0]["runs"][0]
    values = {name: number for passes in run["lines"].values() for made in passes for name, number in made}
    entry, xhat = data["arrays"][values["xhat"]], trace["h.1.ln_1"]["xhat"]
    columns = entry.get("ci", range(xhat.shape[1]))
    shown = numbers(entry)
    assert np.allclose(shown[0], xhat[:, columns], rtol=2e-5, atol=0)
    assert entry["s"] == f"N {len(trace.ids)}, D {trace.config.n_embd}" and float(entry["lo"]) == pytest.approx(
        xhat.min(), rel=1e-3
    )


def test_every_gradient_on_the_page_is_correct_and_has_its_curve(data):
    found = [check for step in data["steps"] for check in step.get("checks", [])]
    assert len(found) > 120 and all(check[7] == 1 and check[5] >= 10 for check in found)
    kinds = {step["kind"] for step in data["steps"]} - {"sum_1", "sum_2"}
    assert kinds == {step["kind"] for step in data["steps"] if any(len(check) == 9 for check in step.get("checks", []))}


def test_each_gradient_offers_ten_entries_and_attentions_first_is_a_querys(gpt):
    trace = Classifier(gpt, ["ham", "spam"], "last_block").trace("Call now", "spam")
    for step in page_data(trace)["steps"]:
        for argument, gradient in trace[step["name"]].gradients.items():
            found = [check for check in step["checks"] if check[0] == argument]
            useful = (np.abs(gradient) >= np.abs(gradient).max() / 100).sum()
            assert len({tuple(check[1]) for check in found}) >= min(10, useful)
        if step["kind"] == "attention" and step["back"]:
            thirds = [check[1][1] // trace.config.n_embd for check in step["checks"]]
            assert thirds[0] == 0 and set(thirds) == {0, 1, 2}


def test_a_value_used_twice_shows_the_sum_of_its_gradients(trace, data):
    twice = [step["name"] for step in data["steps"] if step["sums"]]
    n_layer = trace.config.n_layer
    assert twice == ["embedding", *(f"h.{n}.sum_{k}" for n in range(n_layer) for k in (1, 2))][: 2 * n_layer]
    _, (what, terms, (total, number)) = data["steps"][0]["sums"]  # the sums of block 0's x, then of the token
    assert re.search("“.+” occurs 2 times", what) and len(terms) == 2
    added = sum(numbers(data["arrays"][term]) for _, term in terms)
    size = np.abs(added).max()
    assert np.abs(added - numbers(data["arrays"][number])).max() < 1e-4 * size


def test_the_optimizers_step_lowers_the_loss_and_shows_adamws_lines(data):
    update = data["update"]
    assert float(update["after"]) < float(update["before"])
    made = [
        {name for passes in call["runs"][0]["lines"].values() for run in passes for name, _ in run}
        for call in update["calls"]
    ]
    assert made == [{"beta1", "beta2", "c1", "c2", "rate", "eps"}, {"p", "m", "v", "squares", "change"}]


def test_markup_in_a_message_is_escaped(gpt):
    nasty = 'a</script><script>alert(1)</script> "q" & \u05e9\u05dc\u05d5\u05dd \U0001f600'
    made = page(Classifier(gpt, ["ham", "spam"], "head").trace(nasty, "spam"))
    assert made.count("</script>") == 2 and "alert(1)</script>" not in made
    assert data_of(made)["text"] == nasty
    assert "<script" not in framed(made)


def test_frozen_gradients_are_absent_rather_than_zero(gpt):
    data = page_data(Classifier(gpt, ["ham", "spam"], "last_block").trace("Call now", "spam"))
    by_name = {step["name"]: step for step in data["steps"]}
    top = f"h.{gpt.config.n_layer - 1}.ln_1"
    idle = [data["functions"][number]["name"] for number in by_name["h.0.ln_1"]["idle"]]
    assert by_name["h.0.ln_1"]["back"] is None and "checks" not in by_name["h.0.ln_1"] and len(idle) == 3
    assert by_name[top]["ends"] and {check[0] for check in by_name[top]["checks"]} == {"gain", "bias"}
    assert by_name["h.0.attn.c_attn"]["frozen"] == ["weight", "bias"]


def test_a_page_never_overwrites_a_file(tmp_path):
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(InputError, match="exists"):
        save(tmp_path / "there.html", "page")
    assert (tmp_path / "there.html").read_text() == "mine"
    with pytest.raises(InputError, match="no folder"):
        save(tmp_path / "absent" / "trace.html", "page")


def test_a_large_array_is_shown_in_part_with_its_full_range():
    array = np.arange(300.0 * 700).reshape(300, 700)
    arrays = Arrays([("D", 300)], 5, [1], 9, 9)
    for copy in range(40):
        arrays.add(array + copy)
    packed, most = arrays.packed()
    assert sum(len(entry["c"]) for entry in packed) <= LIMIT and most < array.size
    entry = packed[0]
    shown = numbers(entry)
    assert np.allclose(shown[0], array[np.ix_(entry["ri"], entry["ci"])], rtol=2e-5)
    assert (entry["lo"], entry["hi"]) == ("0", "2.1e+05")


def test_infinities_and_zeros_survive_the_encoding():
    arrays = Arrays([], 2, [0], 9, 9)
    arrays.add(np.array([[0.0, -np.inf], [1e-12, -3.0]]))
    shown = numbers(arrays.packed()[0][0])
    assert shown[0][0].tolist() == [0.0, -np.inf] and np.allclose(shown[0][1], [1e-12, -3], rtol=2e-5)


def test_the_page_loads_nothing_from_a_network(text):
    own = text.split('<script type="application/json"')[0] + text.rsplit("<script>")[-1]
    assert "http://www.w3.org/2000/svg" in own  # a namespace, not an address to load
    assert not re.search(r"https?://|<link|@import|src=", own.replace("http://www.w3.org/2000/svg", ""))


def test_helpers_show_their_calling_line_and_constants_their_values(data):
    steps = {step["name"]: step for step in data["steps"]}
    calls = {data["functions"][call["f"]]["name"]: call for call in steps["h.0.attention"]["calls"]}
    softmax = calls["softmax"]
    line = next(f for f in data["functions"] if f["name"] == "dot_product_attention")
    assert "softmax(scores)" in line["lines"][softmax["runs"][0]["from"] - line["first"]]
    assert softmax["by"] == "dot_product_attention" and calls["attention"]["runs"][0]["from"] is None
    for call in (steps["h.0.gelu"]["calls"][0], steps["h.0.gelu"]["back"][0]):
        made = {name: data["arrays"][number]["v"] for name, number in call["runs"][0]["args"] if name.isupper()}
        assert float(made["CUBIC"]) == 0.044715 and float(made["SLOPE"]) == pytest.approx(np.sqrt(2 / np.pi))


def test_a_gradient_function_not_called_is_shown_without_values(gpt):
    data = page_data(Classifier(gpt, ["ham", "spam"], "h.2.ln_1.bias").trace("Call now", "spam"))
    steps = {step["name"]: step for step in data["steps"]}
    names = {name: [data["functions"][number]["name"] for number in step["idle"]] for name, step in steps.items()}
    assert names["h.2.ln_1"] == ["dx", "dgain"] and names["h.2.gelu"] == [] and names["h.2.ln_2"] == ["dgain", "dbias"]


def test_one_operation_has_a_page_that_a_notebook_shows():
    step = trace_operation(*examples()["attention"])
    data = data_of(operation_page(step))
    assert data["update"] is None and [step["kind"] for step in data["steps"]] == ["attention"]
    assert all(check[7] for check in data["steps"][0]["checks"]) and data["steps"][0]["words"][0]
    assert step._repr_html_().startswith("<iframe")


@pytest.mark.parametrize("name", ["h.2.attention", "h.2.sum_1", "h.0.gelu", "cross_entropy"])
def test_a_notebook_shows_every_step_of_a_trace(gpt, name):
    step = Classifier(gpt, ["ham", "spam"], "last_block").trace("Call now", "spam")[name]
    (shown,) = data_of(operation_page(step))["steps"]
    assert shown["name"] == name and bool(shown.get("checks")) == bool(step.gradients)
