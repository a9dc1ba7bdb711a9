"""A trace has the values of an ordinary run and checked gradients, and shows a wrong one."""

import importlib.util
import inspect
import re
import sys

import numpy as np
import pytest

from numpygpt import Classifier
from numpygpt.model import block, fast, trunk
from numpygpt.model.classifier import classifier
from numpygpt.model.language import language_model
from numpygpt.model.pooling import Pooling
from numpygpt.model.tape import Tape
from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.ops.layernorm import layernorm
from numpygpt.study.trace import page as page_module
from numpygpt.study.trace import trace as trace_module
from numpygpt.study.trace.check import ENOUGH, checks, chosen, errors_by_step
from numpygpt.study.trace.page import proofs
from numpygpt.study.trace.trace import Trace
from numpygpt.system import chunks
from numpygpt.system.errors import InputError

MESSAGE = "Your parcel is held. Pay the fee now and your parcel is sent."


def last(trace):
    """Return the last block's name."""
    return f"h.{trace.config.n_layer - 1}"


def module_of(path, text):
    """Return a module with this text."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ordinary(trace, pooling):
    """Return (loss, grads) of a run without a trace."""
    tape = Tape(trace.params, trace.trainable)
    logits, backward = classifier(tape, trace.ids, np.array([len(trace.ids)]), trace.config, pooling)
    loss, (dlogits,) = cross_entropy(logits, np.array([trace.labels.index(trace.label)]))
    return loss, backward(dlogits())


@pytest.mark.parametrize("folded", [False, True])
def test_a_trace_has_the_loss_and_gradients_of_an_ordinary_run_bit_for_bit(clf, folded):
    trace = clf.trace(MESSAGE, "ham", folded=folded)
    loss, grads = ordinary(trace, Pooling(folded=folded))
    assert trace.loss == loss and trace.grads.keys() == grads.keys()
    assert all(np.array_equal(trace.grads[name], grads[name]) for name in grads)


def test_each_line_has_the_value_of_its_formula(trace):
    step = trace["h.1.ln_1"]
    x, gain, bias = (step[name] for name in ("x", "gain", "bias"))
    centred = x - x.mean(axis=1, keepdims=True)
    rstd = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + 1e-5)
    assert np.array_equal(step["centred"], centred) and np.array_equal(step["rstd"], rstd)
    y, functions = layernorm(x, gain, bias)
    assert np.array_equal(step["y"], y)
    for name, function in zip(("dx", "dgain", "dbias"), functions):
        assert np.array_equal(step[name], function(step["dy"]))


def test_steps_lead_from_the_embedding_to_the_loss_and_back(trace):
    names = [step.name for step in trace.steps]
    assert names[0] == "embedding" and names[-1] == "cross_entropy" and f"{last(trace)}.attention" in names
    assert all(step.backward for step in trace.steps)
    for step, after in zip(trace.steps, trace.steps[1:]):
        if {step.op, after.op} >= {None} or "ln" in after.name or after.name == "take_rows":
            continue  # a sum, or a value used twice
        assert np.array_equal(step.dy, after.gradients[next(iter(after.arguments))]), after.name


def test_an_operations_names_take_precedence_over_inner_operations(clf):
    trace = clf.trace(MESSAGE, "ham", folded=True)
    for step in trace.steps:
        if step.op is not None:
            for argument, gradient in step.gradients.items():
                assert np.array_equal(step[f"d{argument}"], gradient), (step.name, argument)
    assert trace["h.0.attention"]["y"].shape == trace["h.0.attention"].result.shape


def test_an_unknown_name_is_refused_with_the_known_ones(trace):
    with pytest.raises(KeyError, match="h.0.ln_1"):
        trace["ln_9"]
    with pytest.raises(KeyError, match="xhatt"):
        trace["h.0.ln_1"]["xhatt"]


def test_frozen_parameters_have_no_gradient_and_end_backpropagation(gpt):
    trace = Classifier(gpt, ["ham", "spam"], "last_block").trace("Call now", "spam")
    assert trace["h.0.sum_1"].backward is None and trace["embedding"].backward is None
    step = trace[f"{last(trace)}.ln_1"]
    assert step.ends and step.gradients.keys() == {"gain", "bias"}
    assert [call.function.name for call in step.backward] == ["dgain", "dbias"]
    with pytest.raises(KeyError):
        step["dx"]


@pytest.mark.parametrize(
    "trainable, sums", [("h.1.mlp.c_proj.*", []), ("h.1.attn.*", ["da"]), ("h.1.ln_1.*,h.0.mlp.*", ["da", "dx"])]
)
def test_a_sum_without_a_gradient_from_one_side_shows_none(gpt, trainable, sums):
    trace = Classifier(gpt, ["ham", "spam"], trainable).trace("Call now", "spam")
    steps = [trace["h.1.sum_1"], trace["h.0.sum_2"]]
    assert [added.total[0] for step in steps for added in step.sums] == sums
    assert [step.name for step in steps if step.backward] == [step.name for step in steps if step.sums]
    assert trace["h.1.sum_2"].backward and not trace["h.0.sum_1"].sums == (trainable != "h.1.ln_1.*,h.0.mlp.*")


@pytest.mark.parametrize("folded", [False, True])
def test_a_blocks_sums_are_in_order_with_their_gradients(clf, folded):
    trace = clf.trace(MESSAGE, "ham", folded=folded)
    for before, step, after in zip(trace.steps, trace.steps[1:], [*trace.steps[2:], None]):
        if not step.name.endswith(("sum_1", "sum_2")):
            continue
        added, total = ("attended", "a") if step.kind == "sum_1" else ("fed", "y")
        assert np.array_equal(step[added], before.result) and np.array_equal(step[total], step.result)
        assert after.name.endswith((".ln_2", ".take_rows", ".ln_1")) or after.name in ("ln_f", "take_rows")
        assert np.array_equal(next(iter(after.arguments.values())), step.result)
        assert np.array_equal(before.dy, step.dy)  # a sum passes its gradient on unchanged
        for sum_ in step.sums:
            assert np.allclose(sum(term for _, term in sum_.terms), step.dy, rtol=1e-12, atol=0)
    assert [step.name for step in trace.steps if step.kind == "sum_1" and step.sums] == [
        f"h.{n}.sum_1" for n in range(trace.config.n_layer)
    ]


def test_work_shared_by_several_gradients_is_recorded_once(trace):
    back = [call.function.name for call in trace["h.0.attention"].backward[0].all()]
    assert back.count("d_scores") == 1 and {"dqkv", "dq", "dk", "dv"} <= set(back) and "remembered" not in back


def test_a_long_message_is_traced_completely_and_names_do_not_depend_on_local_variables(gpt, tmp_path, monkeypatch):
    text = (
        inspect.getsource(block)
        .replace("from ..ops", "from numpygpt.ops")
        .replace("from .tape", "from numpygpt.model.tape")
    )
    renamed = module_of(tmp_path / "renamed_block.py", re.sub(r"\bn\b", "number", text))
    monkeypatch.setattr(trunk, "block", renamed.block)
    monkeypatch.setattr(trace_module, "block_module", renamed)
    monkeypatch.setattr(trace_module, "BLOCKS", {renamed.block.__code__, renamed.block_at.__code__})
    clf = Classifier(gpt, ["ham", "spam"], "last_block")
    monkeypatch.setattr(fast, "MIN_CHUNKS", 1)
    monkeypatch.setattr(chunks, "CHUNK", 1 << 10)
    trace = clf.trace("Call now " * 9, "spam")
    names = [step.name for step in trace.steps]
    assert {"h.0.ln_1", "h.0.attention", "h.1.gelu", "h.1.sum_2"} <= set(names) and len(names) == len(set(names))
    assert all(step.forward for step in trace.steps)


@pytest.fixture
def few_entries(monkeypatch):
    """Check two entries of each gradient, because ten are slow."""
    monkeypatch.setattr(page_module, "ENTRIES", ((float("inf"), 2),))


@pytest.mark.parametrize("folded", [False, True])
def test_every_traced_gradient_agrees_with_the_complex_step_to_ten_digits(clf, folded, few_entries):
    trace = clf.trace("Call now to call", "spam", folded=folded)
    found = [check for found, _ in proofs(trace) for check in found]
    assert len({(check.argument, check.index) for check in found}) > 50
    assert all(check.holds and check.digits >= 10 for check in found)
    assert trace.other_pooling < 1e-12


@pytest.mark.slow
def test_a_language_models_gradients_agree_and_the_tied_embeddings_is_a_sum_of_two(gpt, few_entries):
    trace = gpt.trace("Call now to call")
    assert all(check.holds for found, _ in proofs(trace) for check in found)
    ids = trace.ids
    tape = Tape(trace.params, trace.trainable)
    loss, backward = language_model(tape, ids[:-1], np.array([len(ids) - 1]), ids[1:], gpt.config)
    assert trace.loss == loss
    ((name, before, plus, after),) = trace.sums
    assert name == "wte.weight" and np.array_equal(after, backward()["wte.weight"])
    assert np.array_equal(before + plus, after) and plus.any() and before.any()


def test_a_wrong_line_shows_at_its_step_and_all_later_backward_steps(clf, tmp_path, monkeypatch):
    source = inspect.getsource(sys.modules["numpygpt.ops.layernorm"])
    right = " - g.mean(axis=1, keepdims=True)"
    assert right in source
    wrong = module_of(tmp_path / "wrong_layernorm.py", source.replace(right, ""))
    monkeypatch.setattr(block, "layernorm", wrong.layernorm)
    trace = clf.trace("Call now", "spam")
    hold = {step.name: [check.holds for check in checks(trace, step, 1)] for step in trace.steps if step.gradients}
    order = list(hold)
    first = order.index(f"{last(trace)}.ln_2")
    assert all(all(hold[name]) for name in order[first + 1 :])
    assert hold[order[first]] == [False, True, True]  # dx is wrong, dgain and dbias are not
    assert all(not all(hold[name]) for name in order[:first])


def test_finite_differences_have_a_best_step_and_the_complex_step_needs_none(trace):
    step = trace["h.1.ln_1"]
    points = errors_by_step(step, "x", chosen(step.gradients["x"], 1)[0])
    difference, complex_step = [d for _, d, _ in points], [c for _, _, c in points]
    best = int(np.argmin(difference))
    assert 1 < best < len(points) - 2 and difference[0] > 100 * difference[best] < difference[-1]
    assert max(complex_step[8:]) < 1e-14 < difference[best]
    assert ENOUGH == 10


@pytest.mark.parametrize("text, label, said", [("", "spam", "empty"), ("Hi", "eggs", "unknown label 'eggs'")])
def test_trace_refuses_bad_input(clf, text, label, said):
    with pytest.raises(InputError, match=said):
        clf.trace(text, label)


def test_a_language_models_text_needs_a_second_token(gpt):
    with pytest.raises(InputError, match="at least two tokens"):
        gpt.trace("a")


def test_a_trace_follows_its_documented_api(trace):
    assert isinstance(trace, Trace) and trace["h.0.ln_1"]["xhat"].shape == (len(trace.ids), trace.config.n_embd)
