"""The default run must classify the messages that people type first correctly."""

from pathlib import Path

import pytest

import numpygpt
from numpygpt import train
from numpygpt.text.messages import read_messages
from numpygpt.text.sources import SAMPLE

FILES = sorted((Path(__file__).parent / "everyday").glob("*.tsv"))
TYPED_FIRST = {
    "hello": "ham",
    "hello there": "ham",
    "good morning!": "ham",
    "Your order has been delivered": "ham",
    "Congratulations! You've won a free iPhone. Click here": "spam",
}


@pytest.fixture(scope="module")
def default_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("default") / "run"
    train.main(["--out", str(folder)])
    return numpygpt.load_run(folder)


@pytest.mark.slow
def test_the_default_run_classifies_what_people_type_first(default_run):
    assert dict(zip(TYPED_FIRST, default_run.predict([*TYPED_FIRST])["label"])) == TYPED_FIRST


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_default_run_classifies_nearly_all_everyday_messages(default_run, file):
    frame = read_messages(file)
    assert default_run.evaluate(frame["Text"], frame["Label"]).accuracy >= 0.93


def test_everyday_and_first_messages_are_not_in_the_sample():
    sample = {text.casefold() for text in read_messages(SAMPLE)["Text"]}
    kept_apart = [text for file in FILES for text in read_messages(file)["Text"]]
    assert len(FILES) == 3 and len(kept_apart) == 300 == len(set(kept_apart))
    assert not sample & {text.casefold() for text in [*kept_apart, *TYPED_FIRST]}
