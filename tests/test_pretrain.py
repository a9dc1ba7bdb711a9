"""The pretrain command: a run, an interrupted run, and bad input."""

import os
import re
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numpygpt import generate, pretrain, train
from numpygpt.checkpoints.safetensors import open_safetensors
from numpygpt.training.pretraining import Pretraining
from numpygpt.training.schedule import learning_rate
from tests.calls import contents, output, refusal, spoil

SMALL = "text.txt --lines --layers 1 --width 8 --heads 2 --positions 16 --vocabulary 290 --batch-size 2 --held-out 0.2"


def test_pretrain_makes_a_model_that_every_command_accepts(here, capsys):
    shown = output(
        capsys,
        pretrain.main,
        *SMALL.split(),
        "--steps",
        "60",
        "--eval-every",
        "30",
        "--warmup",
        "5",
        "--lr",
        "0.02",
        "--out",
        "new",
    )
    perplexities = [float(number) for number in re.findall(r"perplexity ([\d.]+) \|", shown)]
    assert perplexities[1] < perplexities[0] < 290
    assert float(re.search(r"perplexity of the stored model: ([\d.]+)", shown)[1]) == pytest.approx(
        perplexities[1], abs=0.01
    )
    made = {"config.json", "curve.csv", "merges.txt", "model.safetensors", "vocab.json"}
    assert set(os.listdir("new")) - {"curve.png"} == made
    curve = pd.read_csv("new/curve.csv")
    assert curve["step"].tolist() == [30, 60] and curve["tokens"].tolist() == [30 * 2 * 16, 60 * 2 * 16]
    np.testing.assert_allclose(curve["held_out_perplexity"], perplexities, atol=0.01)
    assert curve["train_loss"].is_monotonic_decreasing
    assert output(capsys, generate.main, "win", "--model", "new", "--tokens", "3").startswith("win")
    train.main("--model new --data two.csv --epochs 1 --out run2".split())
    more = "text.txt --lines --from new --steps 3 --batch-size 2 --held-out 0.2 --half --out more"
    shown = output(capsys, pretrain.main, *more.split())
    assert float(re.search(r"step +3: .*perplexity ([\d.]+) \|", shown)[1]) < 0.7 * 290
    assert {tensor.stored_as for tensor in open_safetensors("more/model.safetensors").values()} == {"F16"}


def test_pretraining_resumes_after_ctrl_c_with_the_same_bits(here, capsys, monkeypatch):
    arguments = [*SMALL.split(), "--steps", "6", "--eval-every", "3"]
    pretrain.main([*arguments, "--out", "whole"])
    for at in (1, 4, 6):
        stopped = [*arguments, "--out", f"stopped {at}"]

        class Interrupted(Pretraining):
            def step(self, at=at):
                if self.done == at - 1:
                    os.kill(os.getpid(), signal.SIGINT)
                return super().step()

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("numpygpt.commands.pretrain.Pretraining", Interrupted)
            pretrain.main(stopped)
        before = contents(here / f"stopped {at}")
        assert "resume.safetensors" in before and "config.json" not in before
        assert f"interrupted after step {at}." in capsys.readouterr().out

        assert "lr = '0.002', not '0.1'" in refusal(capsys, pretrain.main, *stopped, "--lr", "0.1")
        text = Path("text.txt").read_bytes()
        spoil("text.txt", lambda b: b[: len(b) // 2] + b"home soon" + b[len(b) // 2 :])
        assert "resume.safetensors: that run has text = " in refusal(capsys, pretrain.main, *stopped)
        assert contents(here / f"stopped {at}") == before

        Path("text.txt").write_bytes(text)
        assert f"resuming from step {at}\n" in output(capsys, pretrain.main, *stopped)
        assert contents(here / f"stopped {at}") == contents(here / "whole")


def test_pretraining_resumes_with_another_number_of_steps_on_their_schedule(here, capsys, monkeypatch):
    arguments = [*SMALL.split(), "--eval-every", "2", "--warmup", "0", "--out", "new"]
    rates = []

    class Interrupted(Pretraining):
        def step(self):
            if self.done == 3 and self.steps == 50:
                os.kill(os.getpid(), signal.SIGINT)
            loss = super().step()
            rates.append(self.optimizers[0].lr)
            return loss

    monkeypatch.setattr("numpygpt.commands.pretrain.Pretraining", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain.main([*arguments, "--steps", "50"])
    assert "resuming from step 4\n" in output(capsys, pretrain.main, *arguments, "--steps", "6")
    assert rates[4:] == [learning_rate(step, 6, 2e-3, 0) for step in (4, 5)]
    assert pd.read_csv("new/curve.csv")["step"].tolist() == [2, 4, 6]


def test_a_file_is_used_as_often_as_its_weight(here, capsys):
    """A weight multiplies a file's documents and tokens. A weight of one half uses every second document."""
    Path("a.txt").write_text("".join(f"this is line {n} of many\n" for n in range(200)))

    options = [*SMALL.split()[1:], "--vocabulary", "257", "--steps", "1"]

    def counted(name):
        shown = output(capsys, pretrain.main, name, *options, "--out", f"of {name}")
        return int(re.search(r"text +([\d,]+) documents", shown)[1].replace(",", ""))

    assert [counted(name) for name in ("a.txt", "a.txt:2", "a.txt:0.5")] == [160, 320, 80]
    Path("b.txt:3").write_bytes(Path("a.txt").read_bytes())
    assert counted("b.txt:3") == 160, "the whole argument is the name of a file"


def test_the_second_ctrl_c_ends_pretraining_at_once(here, monkeypatch):
    class Interrupted(Pretraining):
        def step(self):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("went on")

    monkeypatch.setattr("numpygpt.commands.pretrain.Pretraining", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        pretrain.main([*SMALL.split(), "--steps", "6", "--out", "new"])
    assert signal.getsignal(signal.SIGINT) is before


REFUSED_BY_PRETRAIN = {
    "a weight of nothing": ("text.txt:0", "expected a number above 0 and at most 1000, got '0'"),
    "a weight that is no number": ("text.txt:x", "text.txt:x: cannot read the text"),
    "half of one document": ("text.txt:0.5", "text.txt: the file is one document, which cannot be repeated 0.5 times"),
    "no text": ("absent.txt", "absent.txt: cannot read the text"),
    "not UTF-8": ("model/model.safetensors", "model.safetensors, line .*: not UTF-8"),
    "one document": ("text.txt", "no document is left to train on"),
    "a width that heads do not divide": ("--width 9", "--width 9 is not divisible by --heads 2"),
    "a vocabulary without bytes": ("--vocabulary 256", "a vocabulary of 256 entries is too small"),
    "a vocabulary too large": ("--vocabulary 9000", r"yields only \d+ vocabulary entries, not 9000"),
    "a vocabulary that is no folder": ("--vocabulary none", "none: no such folder"),
    "a context too long": ("--context 17", "--context 17 is too long: the model has 16 positions"),
    "a batch too large": ("--batch-size 999", "does not fill one batch of 999 windows"),
    "too little held out": (
        "--held-out 0.001 --positions 99",
        "1 held-out document cannot fill one window of 99 tokens",
    ),
    "sizes beside a start": ("--from model", "--from has its own sizes: omit --layers"),
    "an absent start": ("text.txt --lines --from absent", "absent: no such folder"),
    "an existing folder": ("--out model", "model already exists and holds no interrupted run"),
    "no steps": ("--steps 0", "--steps: expected a whole number at least 1"),
    "all held out": ("--held-out 1", "--held-out: expected a number above 0 and at most 0.9"),
}


@pytest.mark.parametrize("what", REFUSED_BY_PRETRAIN)
def test_pretrain_refuses_bad_input_in_one_line_and_leaves_no_folder(here, capsys, what):
    options, expected = REFUSED_BY_PRETRAIN[what]
    arguments = options.split() if not options.startswith("--") else [*SMALL.split(), *options.split()]
    before = contents(here)
    error = refusal(capsys, pretrain.main, "--out", "new", *arguments)
    assert re.search(expected, error), error
    assert contents(here) == before and not Path("new").exists()
