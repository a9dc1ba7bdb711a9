"""`train --recipe book` on the bundled model and messages prints the log of the book's PyTorch script, line by line.

make_book_log.py writes the script's log to book_log.json.
"""

import json
import re
from contextlib import redirect_stdout
from io import StringIO

import pandas as pd
import pytest

from numpygpt import train
from tests.make_book_log import EPOCHS, LOG, inputs, write_messages

NUMBER = re.compile(r"\d+\.\d+")


@pytest.fixture(scope="module")
def logged():
    return json.loads(LOG.read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return (the folder of our run, its printed lines)."""
    scratch = tmp_path_factory.mktemp("book")
    folder, messages = scratch / "run", write_messages(scratch)
    settings = f"--recipe book --model mini --data {messages} --epochs {EPOCHS}"
    with redirect_stdout(StringIO()) as printed:
        train.main([*settings.split(), "--out", str(folder)])
    return folder, printed.getvalue().splitlines()


def test_the_log_belongs_to_the_bundled_model_and_messages(logged, tmp_path):
    assert logged["inputs"] == inputs(write_messages(tmp_path)), (
        "make the log again: python -m tests.make_book_log (with torch)"
    )


def test_every_steps_loss_equals_pytorchs(run, logged):
    losses = pd.read_csv(run[0] / "history.csv")["loss"].dropna()
    assert list(losses) == pytest.approx(logged["step_losses"], abs=1e-5)


def test_every_printed_line_equals_the_scripts(run, logged):
    lines = run[1]
    ours = [line for line in lines if line.startswith("Ep ") or " | Validation accuracy: " in line]
    assert [NUMBER.sub("#", line) for line in ours] == [NUMBER.sub("#", line) for line in logged["log"]]
    numbers, theirs = ([float(number) for number in NUMBER.findall("\n".join(log))] for log in (ours, logged["log"]))
    assert numbers == pytest.approx(theirs, abs=0.00101)  # a loss that differs by 1e-6 may be rounded the other way
    for name, share in logged["accuracy"].items():
        assert f"{name.capitalize()} accuracy: {share:.2%}" in lines
