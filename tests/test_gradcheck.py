"""The gradient check detects wrong gradients and reports them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from numpygpt import gradcheck, ops
from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes
from numpygpt.ops.layernorm import layernorm
from numpygpt.ops.linear import linear
from numpygpt.study import exercises
from numpygpt.study.checking import cases
from numpygpt.study.checking.complex_step import complex_step, entry_errors, operation_errors
from tests.calls import refusal


def linear_error(spoil):
    """Return the check's error of linear's dweight, changed by `spoil`. The weight is square, like its transpose."""

    def spoiled(x, weight, bias):
        y, (dx, right, dbias) = linear(x, weight, bias)

        def dweight(dy):
            return spoil(right(dy))

        return y, (dx, dweight, dbias)

    rng = np.random.default_rng(0)
    normal = rng.standard_normal
    return operation_errors(rng, spoiled, x=normal((3, 4)), weight=normal((4, 4)), bias=normal(4))["weight"]


def test_a_complex_step_gives_the_derivative_to_the_last_digits():
    x = np.array([[0.3, 2.0], [-1.5, 40.0]])
    derivative = complex_step(lambda arrays: (arrays["x"] ** 3).sum(), {"x": x.astype(complex)}, "x")
    np.testing.assert_allclose(derivative, 3 * x**2, rtol=1e-15)


def test_a_correct_gradient_passes():
    assert linear_error(lambda dweight: dweight) < 1e-14


@pytest.mark.parametrize(
    "spoil",
    [
        lambda dweight: dweight * 1.0005,
        lambda dweight: dweight.T,
        lambda dweight: dweight[:1],
        lambda dweight: dweight.astype(np.float32),
        lambda dweight: np.where(np.arange(4) == 3, 0, dweight),
    ],
    ids=["off by 0.05 %", "transposed", "summed too far", "rounded to float32", "one column lost"],
)
def test_a_wrong_gradient_is_rejected(spoil):
    assert not linear_error(spoil) < 1e-9


def test_a_wrong_small_entry_is_detected_beside_a_large_one():
    derivative = np.array([1e6, 3e4, 1.0])
    assert entry_errors(derivative * [1, 1 + 1e-9, 1], derivative).max() > 0.9e-9, "3e4 is above the floor of 1e4"
    assert entry_errors(derivative + [0, 0, 1e-4], derivative).max() > 0.9e-8, "1 is compared with the floor of 1e4"


def test_a_small_entry_may_differ_by_the_rounding_of_large_terms():
    derivative = np.array([1.0, 1e-14])
    assert entry_errors(derivative + [0, 1e-15], derivative).max() < 1e-12


def test_a_zero_gradient_must_be_exactly_zero():
    assert entry_errors(np.zeros(3), np.zeros(3)).max() == 0
    assert not entry_errors(np.array([0, 1e-9, 0]), np.zeros(3)).max() < 1e-9


def test_a_dropped_term_is_rejected():
    def two_terms(x, gain, bias):
        y, (_, dgain, dbias) = layernorm(x, gain, bias)
        rstd = 1 / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)

        def dx(dy):
            g = dy * gain
            return rstd * (g - g.mean(axis=1, keepdims=True))

        return y, (dx, dgain, dbias)

    rng = np.random.default_rng(0)
    normal = rng.standard_normal
    errors = operation_errors(rng, two_terms, x=normal((3, 4)), gain=normal(4), bias=normal(4))
    assert errors["x"] > 0.01 and errors["gain"] < 1e-14


def test_every_operation_is_checked():
    checked = {op.__name__ for _, op, _ in cases.operation_cases(np.random.default_rng(0))}
    files = {path.stem for path in Path(ops.__path__[0]).glob("[a-z]*.py")}
    assert checked == files - {"pool", "remember"} | {"take_rows", "mean_rows"}


@pytest.mark.slow
def test_every_operation_and_kind_of_parameter_passes_the_command(capsys):
    gradcheck.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "all gradients correct"
    shown = [line.split("  ")[1] for line in lines if line.startswith("  ")]
    assert {
        "attention, causal: dqkv",
        "layernorm: dgain",
        "head.bias",
        "h.*.attn.c_attn.key.lora_A",
        "head.lora_B",
    } <= set(shown)
    parameters = {re.sub(r"^h\.\d+", "h.*", name) for name in parameter_shapes(Config(n_layer=2))}
    assert all(shown.count(kind) == 2 for kind in parameters), (
        "each kind appears in the classifier and in the language model"
    )


@pytest.mark.parametrize("error", [2e-9, float("nan"), float("inf")])
def test_the_command_fails_and_names_the_wrong_gradient(capsys, monkeypatch, error):
    rows = [("good", 3, 1e-16), ("bad", 3, error), ("bad", 3, 1e-16)]
    monkeypatch.setattr(cases, "CHECKS", (("these", 1e-9, lambda: iter(rows)),))
    with pytest.raises(SystemExit) as exit:
        gradcheck.main([])
    assert exit.value.code == 1
    assert capsys.readouterr().out.splitlines()[-1] == "wrong: bad"


@pytest.fixture
def class_of_three(tmp_path, monkeypatch):
    """Write three files of gelu: a solution, one with a wrong sign, and one that does not run."""
    monkeypatch.chdir(tmp_path)
    text = exercises.exercise("gelu").solution_text()
    texts = {"ann": text, "bob": text.replace("return dy *", "return -dy *"), "cleo": "def gelu(x:"}
    for name, text in texts.items():
        Path(name).mkdir()
        Path(name, "gelu.py").write_text(text)
    return [f"{name}/gelu.py" for name in texts]


def test_json_has_a_line_for_each_file_of_a_class(class_of_three, capsys):
    with pytest.raises(SystemExit) as exit:
        gradcheck.main(["--json", *class_of_three, "absent/gelu.py"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert exit.value.code == 1
    assert [one["file"] for one in found] == [*class_of_three, "absent/gelu.py"]
    assert [one["holds"] for one in found] == [True, False, False, False]
    assert found[0]["rows"][0]["name"] == "dx" and found[0]["rows"][0]["wrong_in"] is None
    wrong = next(row for row in found[1]["rows"] if row["name"] == "dx")
    assert wrong["wrong_in"] and np.isclose(wrong["yours"], -wrong["right"])
    assert "sign" in " ".join(found[1]["messages"])
    assert "SyntaxError" in found[2]["messages"][0] and "no such file" in found[3]["messages"][0]


def test_json_accepts_described_arguments_and_succeeds_for_correct_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "def scale(x, factor):\n    return x * factor, lambda dy: (dy * factor, (dy * x).sum(axis=0))\n"
    )
    gradcheck.main(["mine.py:scale", "x=(5,7)", "factor=(7,)", "--json"])
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["holds"] and {row["name"] for row in found["rows"]} == {"dx", "dfactor"}


@pytest.mark.parametrize(
    "given, words",
    [
        (("mine.py", "x=(0,7)"), "x has no entries"),
        (("mine.py", "x=(5,7)", "lengths=[]"), "lengths has no entries"),
        ((".",), "a folder; name a Python file in it"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(tmp_path, monkeypatch, capsys, given, words):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def double(x, lengths=None):\n    return 2 * x, lambda dy: 2 * dy\n")
    assert words in refusal(capsys, gradcheck.main, *given)


@pytest.mark.parametrize(
    "content, words", [(b"\xff\xfe\xc5", "UnicodeDecodeError"), (b"label,text\nham,see you\n", "SyntaxError")]
)
def test_a_file_that_is_no_python_is_told_by_name(tmp_path, capsys, content, words):
    (tmp_path / "gelu.csv").write_bytes(content)
    with pytest.raises(SystemExit):
        gradcheck.main([str(tmp_path / "gelu.csv")])
    told = capsys.readouterr().out
    assert told.startswith("gelu.csv") and words in told


def test_json_requires_a_file_and_excludes_watch(capsys):
    assert "--json needs a FILE" in refusal(capsys, gradcheck.main, "--json")
    assert "omit --watch" in refusal(capsys, gradcheck.main, "gelu.py", "--json", "--watch")
