"""Each exercise rejects an untouched file, accepts the shipped lines, and explains each known mistake."""

import inspect

import numpy as np
import pytest

from numpygpt.model.block import block
from numpygpt.model.config import Config
from numpygpt.model.lora import merge
from numpygpt.model.tape import Tape
from numpygpt.ops.attention import attention
from numpygpt.ops.embedding import embedding
from numpygpt.ops.linear import linear
from numpygpt.ops.output_loss import output_loss
from numpygpt.study import exercises
from numpygpt.study.checking.exercise import built
from numpygpt.study.checking.judge import spoiled_gradients
from numpygpt.study.checking.signs import close
from numpygpt.training.adamw import AdamW
from tests.study.judging import drawn, learners_files, outside, verdict, verdict_with_places
from tests.study.outside_solutions import SOLUTIONS


@pytest.fixture(autouse=True, scope="module")
def a_learners_files(tmp_path_factory):
    yield from learners_files(tmp_path_factory)


EACH = pytest.mark.parametrize("name", exercises.NAMES)
MANY = ("block", "cross_entropy", "query_attention")  # exercises with so many mistakes that checking all takes long


@EACH
def test_an_untouched_exercise_is_rejected(name):
    found = verdict(name, exercises.exercise(name).text())
    assert not found.holds and "nothing is written yet" in found.lines[-1]


@EACH
def test_the_shipped_lines_pass_their_exercise(name):
    found = verdict(name, exercises.exercise(name).solution_text())
    assert found.holds, found.lines


OF_AN_OPERATION = [name for name in exercises.NAMES if ".ops." in exercises.exercise(name).function.__module__]


@pytest.mark.parametrize("name", OF_AN_OPERATION)
def test_the_exercise_of_an_operation_is_the_text_of_its_file(name):
    exercise = exercises.exercise(name)
    shipped = inspect.getsource(inspect.getmodule(exercise.function))
    solution = exercise.solution_text().replace(f"def {name}(", f"def {exercise.function.__name__}(")
    if shipped.count("return y, (dx,)") < 2:  # pool.py has two operations
        assert solution.removeprefix("import numpy as np\n\n\n" * ("import" not in shipped)) == shipped
    assert inspect.getsource(exercise.function).strip() in solution
    for line in exercise.text().split('"""\n\n', 1)[1].splitlines():
        assert line in exercise.solution_text() or line.strip() in ("...  # not written yet", '"""')


def test_each_written_gradient_is_judged_before_the_others_are_written():
    text = exercises.exercise("layernorm").text()
    for name, right in (("dgain", "(dy * xhat).sum(axis=0)"), ("dbias", "dy.sum(axis=0)")):
        text = text.replace(f"def {name}(dy):\n        ...", f"def {name}(dy):\n        return {right}")
    found = verdict("layernorm", text)
    assert not found.holds and found.lines[-1] == "dx is not written yet, dgain holds, dbias holds"
    assert [line.split()[0] for line in found.lines[1:-1]] == ["dgain", "dbias"]
    found = verdict("layernorm", text.replace("return dy.sum(axis=0)", "return dy.sun(axis=0)"))
    assert "AttributeError" in found.lines[-3]
    assert found.lines[-2] == "dx is not written yet, dgain holds, dbias is wrong"


@pytest.mark.parametrize("other, h, digits", [("x - 1e-5", 2e-5, "9 digits"), ("x", 1e-5, "digits")])
def test_a_nearly_correct_gradient_is_not_called_zero(other, h, digits):
    difference = f"(gelu(x + 1e-5)[0] - gelu({other})[0]) / {h}"
    text = exercises.exercise("gelu").text().replace("...  # not written yet", f"return dy * {difference}")
    assert f"{digits} only. A finite difference" in verdict("gelu", text).lines[-3]


def test_the_adamw_exercise_equals_the_shipped_optimizers_step():
    exercise, draws, rights = drawn("adamw")
    for draw, right in zip(draws, rights):
        a = draw.arguments
        p = {"w": a["p"].copy()}
        shipped = AdamW(p, ["w"], a["lr"], a["weight_decay"], (a["beta1"], a["beta2"]), a["eps"])
        share1, share2 = 1 - a["beta1"], 1 - a["beta2"]  # the exercise has means, and the shipped optimizer sums
        shipped.m["w"], shipped.v["w"], shipped.t = a["m"] / share1, a["v"] / share2, a["t"] - 1
        shipped.step({"w": a["g"]})
        for name, array in dict(p=p["w"], m=share1 * shipped.m["w"], v=share2 * shipped.v["w"]).items():
            np.testing.assert_allclose(right.gradients[name], array, rtol=1e-13)


def test_the_block_exercise_equals_the_models_block():
    _, draws, rights = drawn("block")
    a, right = draws[0].arguments, rights[0]
    names = {"ln_1": "gain1 bias1", "attn.c_attn": "w_qkv b_qkv", "attn.c_proj": "w_proj b_proj", "ln_2": "gain2 bias2"}
    names |= {"mlp.c_fc": "w_fc b_fc", "mlp.c_proj": "w_out b_out"}
    both = {f"h.0.{k}.{w}": v for k, pair in names.items() for w, v in zip(("weight", "bias"), pair.split())}
    tape = Tape({name: a[ours] for name, ours in both.items()}, frozenset(both), input_learns=True)

    def attend(qkv):
        y, (dqkv,) = attention(qkv, a["T"], a["n_head"])
        return y, dqkv

    y, backward = block(tape, 0, a["x"], attend, Config(n_embd=a["x"].shape[1], n_head=a["n_head"]))
    np.testing.assert_allclose(y, right.y, rtol=1e-12)
    np.testing.assert_allclose(backward(right.dy), right.gradients["x"], rtol=1e-11, atol=1e-12)
    for name, ours in both.items():
        np.testing.assert_allclose(tape.grads[name], right.gradients[ours], rtol=1e-10, atol=1e-11)


def test_the_tied_output_exercise_equals_the_models():
    _, draws, rights = drawn("tied_output")
    a, right = draws[0].arguments, rights[0]
    x, (dwte_embedding, _) = embedding(a["ids"], a["wte"], np.zeros((4, 3)), np.array([len(a["ids"])]))
    loss, (dx, dwte) = output_loss(x, a["wte"], a["targets"])
    dloss = right.dy[()]
    np.testing.assert_allclose(loss, right.y, rtol=1e-13)
    np.testing.assert_allclose(dwte(dloss) + dwte_embedding(dx(dloss)), right.gradients["wte"], rtol=1e-11, atol=1e-14)


def test_the_lora_exercise_equals_the_models():
    """Without blocks, the model's head is a linear layer with adapters."""
    _, draws, rights = drawn("lora")
    a, right = draws[0].arguments, rights[0]
    params = {"head.weight": a["weight"], "head.lora_A": a["A"], "head.lora_B": a["B"]}
    merged, d_merge = merge(params, Config(n_layer=0), a["scale"])
    y, (dx, dweight, _) = linear(a["x"], merged["head.weight"], np.zeros(a["weight"].shape[1]))
    grads = d_merge({"head.weight": dweight(right.dy)})
    np.testing.assert_allclose(y, right.y, rtol=1e-12, atol=1e-13)
    for ours, theirs in (("x", dx(right.dy)), ("A", grads["head.lora_A"]), ("B", grads["head.lora_B"])):
        np.testing.assert_allclose(theirs, right.gradients[ours], rtol=1e-11, atol=1e-13)


def test_gradients_that_are_not_needed_must_not_be_computed():
    text = exercises.exercise("freezing").solution_text()
    wasteful = text.replace(" if any(learns[:3]) else 0.0", "")
    assert wasteful != text
    found = verdict("freezing", wasteful)
    assert not found.holds and "2 products of matrices where 1 are enough" in found.lines[-1]
    found = verdict("freezing", text.replace("d_layer2[1](dy) if learns[3] else None", "d_layer2[1](dy)"))
    assert not found.holds and "dweight2 is not asked for here" in found.lines[0]


@EACH
def test_the_file_imports_only_numpy_operations_and_own_pieces_and_does_not_hold_the_solution(name):
    exercise = exercises.exercise(name)
    imports = [line for line in exercise.text().splitlines() if line.startswith(("import", "from"))]
    own = {f"from {piece} import {piece}" for piece in ("causal_attention", "gelu", "layernorm", "linear")}
    left = {line for line in imports if not line.startswith("from numpygpt.ops.")} - {
        "import math",
        "import numpy as np",
    }
    assert left == (own if name == "block" else set())
    for line in exercise.solution_lines().splitlines():
        assert len(line.strip()) < 14 or line.strip().startswith("def ") or line.strip() not in exercise.text()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in MANY else name for name in exercises.NAMES]
)
def test_each_known_mistake_is_rejected_with_its_own_message_alone_and_a_place(name):
    mistakes = exercises.exercise(name).mistakes
    messages = [message for _, message, _ in mistakes]
    assert len(set(messages)) == len(messages) >= 5
    for mistake, message, text in mistakes:
        found = verdict_with_places(name, text)
        shown = [m for m in messages if any(m in line for line in found.lines)]
        assert not found.holds and shown == [message], (mistake, found.lines)
        assert found.messages[0].startswith("first wrong: "), "every wrong solution has a place"


@EACH
def test_no_two_known_mistakes_give_the_same_gradients(name):
    exercise, draws, rights = drawn(name)
    numbers = {
        mistake: spoiled_gradients(exercise, built(text, name), draws, rights) for mistake, _, text in exercise.mistakes
    }

    def same(a, b):
        return all(g.keys() == h.keys() and all(close(g[n], h[n]) for n in g) for g, h in zip(a, b))

    for one in numbers:
        assert [other for other in numbers if same(numbers[one], numbers[other])] == [one]


@EACH
def test_hints_become_more_specific_and_show_no_line_of_the_solution(name):
    exercise = exercises.exercise(name)
    hints = [exercise.hint(number) for number in (1, 2, 3)]
    assert all(len(hint) > 40 for hint in hints) and len(set(hints)) == 3
    for line in exercise.solution_lines().splitlines():
        assert line.strip() not in "\n".join(hints[:2]) or len(line.strip()) < 20


def test_wrong_solutions_from_outside_are_rejected_and_most_get_their_cause():
    unnamed = []
    for name, words, body in SOLUTIONS:
        found = verdict(name, outside(name, body))
        assert not found.holds, (name, words)
        if not any(words in line for line in found.lines if ": " in line):
            unnamed.append((name, words))
    assert len(SOLUTIONS) == 20 and len(unnamed) <= 6, unnamed
