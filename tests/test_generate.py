"""The generate command."""

import re

import numpy as np
import pytest

from numpygpt import generate
from numpygpt.api import gpt
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_checkpoint
from numpygpt.model.config import Config
from tests.calls import output, refusal
from tests.tiny import save_model


def test_generate_prints_only_the_prompt_and_its_continuation(made, capsys):
    _, _, encoding = load_checkpoint(made / "model")
    shown = output(capsys, generate.main, "win a", "--model", made / "model", "--greedy", "--tokens", "5")
    assert shown.startswith("win a") and shown.endswith("\n") and len(shown) > 8
    assert shown == output(capsys, generate.main, "win a", "--model", made / "model", "--top-k", "1", "--tokens", "5")
    drawn = [
        output(capsys, generate.main, "win", "--model", made / "model", "--seed", seed, "--tokens", "9")
        for seed in "112"
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_generate_without_a_prompt_continues_its_own_and_accepts_an_empty_one(capsys):
    shown = output(capsys, generate.main)
    assert shown.startswith("I think ") and len(shown.split()) > 6 and "\ufffd" not in shown
    assert not output(capsys, generate.main, "", "--tokens", "3").startswith("I think")


@pytest.mark.parametrize("prompt, noted", [("win a ", True), ("win a", False), (" win a", False), ("", False)])
def test_a_prompt_that_ends_in_a_space_gets_a_note(made, capsys, prompt, noted):
    generate.main([prompt, "--model", str(made / "model"), "--tokens", "3"])
    shown = capsys.readouterr()
    assert shown.out.startswith(prompt)
    assert shown.err.startswith("note: the prompt ends in a space. ") == noted and bool(shown.err) == noted


def constant_model(folder, rows, favourite):
    """Save a model of `rows` embedding rows that always predicts the token `favourite`."""
    save_model(folder, Config(rows, 24, 8, 1, 2))
    config, params, encoding = load_checkpoint(folder)
    params = {name: np.zeros_like(array) for name, array in params.items()}
    params["ln_f.bias"][0], params["wte.weight"][favourite, 0] = 1, 50
    params["wte.weight"][300:, 0] = 99  # the rows beyond the tokenizer's ids
    save_folder(folder, config, params, encoding)


def test_generate_stops_with_a_note_when_the_positions_are_full(tmp_path, capsys):
    constant_model(tmp_path, 300, 5)
    _, _, encoding = load_checkpoint(tmp_path)
    prompt = len(encoding.encode_ordinary("win"))
    generate.main(["--model", str(tmp_path), "--tokens", "999", "win"])
    shown = capsys.readouterr()
    assert shown.out == "win" + (24 - prompt + 1) * encoding.decode([5]) + "\n"
    assert shown.err == "stopped: the model's 24 positions are full\n"
    generate.main(["--model", str(tmp_path), "--tokens", str(24 - prompt + 1), "win"])
    assert capsys.readouterr() == (shown.out, ""), "no more tokens were requested"


def test_generate_ends_at_endoftext(tmp_path, capsys):
    constant_model(tmp_path, 300, 299)
    assert output(capsys, generate.main, "win", "--model", tmp_path) == "win\n"


def test_generate_joins_the_bytes_of_a_character(made, capsys, monkeypatch):
    _, _, encoding = load_checkpoint(made / "model")
    ids = [encoding.encode_single_token(bytes([byte])) for byte in "€é".encode() + b"\xe2\x82"]
    monkeypatch.setattr(gpt, "continuation", lambda *_: iter(ids))
    assert output(capsys, generate.main, "win", "--model", made / "model") == "win€é\ufffd\n"


def test_generate_never_draws_an_id_the_tokenizer_lacks(tmp_path, capsys):
    constant_model(tmp_path, 310, 5)
    word = load_checkpoint(tmp_path)[2].decode([5])
    for draw in (["--greedy"], ["--temperature", "0.1"]):
        assert (
            output(capsys, generate.main, "win", "--model", tmp_path, "--tokens", "3", *draw) == "win" + 3 * word + "\n"
        )


@pytest.mark.parametrize(
    "options, expected",
    [
        ("--model absent", "absent: no such folder"),
        ("--temperature 0", "--temperature: expected a number above 0"),
        ("--top-p 1.1", "--top-p: expected a number above 0 and at most 1"),
        ("--top-k 0", "--top-k: expected a whole number"),
        ("--greedy --temperature 0.5", "--greedy draws nothing: omit --temperature"),
        ("--greedy --top-k 3", "omit --top-k"),
        ("--tokens -3", "--tokens: expected a whole number"),
    ],
)
def test_generate_refuses_bad_input_in_one_line(here, capsys, options, expected):
    assert expected in refusal(capsys, generate.main, "win", "--model", "model", *options.split())


def test_generate_refuses_a_prompt_longer_than_the_positions(made, capsys):
    error = refusal(capsys, generate.main, "£" * 25, "--model", made / "model")
    assert re.search(r"the text has \d+ tokens, but .*model takes at most 24", error)
