import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.system.errors import InputError
from numpygpt.text.batches import encode, pack, padded_length
from numpygpt.text.messages import read_messages
from numpygpt.text.split import balance, split

END = 256


@pytest.fixture(scope="module")
def byte_encoding():
    """Return an encoding with one token per byte and <|endoftext|> = 256."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    return tiktoken.Encoding("bytes", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": END})


def test_the_books_longest_training_message_has_120_tokens(shared, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "tiktoken"))
    encoding = tiktoken.get_encoding("gpt2")
    train, validation, _ = split(balance(read_messages(shared / "data" / "SMSSpamCollection", book_quotes=True)))
    lengths = [len(message) for message in encode(train["Text"], encoding, None, 1024)]
    pad_to = padded_length("longest", lengths, 1024)
    assert pad_to == 120
    padded = list(encode(validation["Text"], encoding, pad_to, 1024))
    assert {len(message) for message in padded} == {120} and padded[0][-1] == 50256
    assert len(next(encode(["hello " * 2000], encoding, None, 1024))) == 1024


@pytest.mark.parametrize(
    "mode, length", [("longest", 7), ("none", None), ("end", "end"), ("context", 10), ("1", 1), ("10", 10), (5, 5)]
)
def test_each_padding_mode_has_its_length(mode, length):
    assert padded_length(mode, [3, 7, 2], 10) == length


@pytest.mark.parametrize(
    "mode, lengths, n_positions, message",
    [
        ("longest", [], 10, "cannot pad to 'longest': use none, end, context or a number from 1 to 10$"),
        ("short", [3], 10, "cannot pad to 'short': use longest, none, end, context or a number from 1 to 10$"),
        ("end", [3], 1, "cannot pad to 'end': .*endoftext.* would take the model's only position; use 'none'$"),
    ],
)
def test_impossible_padding_is_refused_with_its_reason(mode, lengths, n_positions, message):
    with pytest.raises(InputError, match=message):
        padded_length(mode, lengths, n_positions)


def test_padding_to_the_longest_message_is_limited_to_the_positions():
    assert padded_length("longest", [3, 70], 10) == 10


@pytest.mark.parametrize("mode", ["0", "-1", "11", "2.5", "", "long", "9" * 5000])
def test_an_invalid_padding_length_is_refused(mode):
    with pytest.raises(InputError, match="from 1 to 10"):
        padded_length(mode, [3], 10)


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1),
    pad_to=st.none() | st.integers(1, 9),
)
def test_messages_are_cut_and_padded_on_the_right_with_endoftext(byte_encoding, texts, pad_to):
    for text, ids in zip(texts, encode(texts, byte_encoding, pad_to, 9), strict=True):
        kept = list(text.encode()[: pad_to or 9])
        assert ids.dtype == np.int32
        assert ids.tolist() == kept + [END] * ((pad_to or 0) - len(kept))


def test_padding_to_end_adds_one_endoftext_also_to_a_cut_message(byte_encoding):
    ids = encode(["ab", "abcdefgh", "abcdefghij"], byte_encoding, "end", 9)
    assert [i.tolist() for i in ids] == [[*b"ab", END], [*b"abcdefgh", END], [*b"abcdefgh", END]]


def test_endoftext_in_a_message_is_ordinary_text(byte_encoding):
    assert next(encode(["<|endoftext|>"], byte_encoding, None, 99)).tolist() == list(b"<|endoftext|>")


def test_an_empty_message_is_refused_with_its_number(byte_encoding):
    with pytest.raises(InputError, match="message 2 is empty"):
        list(encode(["a", "", "b"], byte_encoding, 4, 9))


@pytest.mark.parametrize("texts, message", [("call now", "got the single text 'call now'"), (["a", None], "2 is None")])
def test_a_single_string_and_a_non_string_are_refused(byte_encoding, texts, message):
    with pytest.raises(InputError, match=message):
        list(encode(texts, byte_encoding, None, 9))


def test_packing_concatenates_messages():
    ids, lengths = pack([np.array([5, 6], np.int32), np.array([7], np.int32), np.array([8, 9, 1], np.int32)])
    assert ids.tolist() == [5, 6, 7, 8, 9, 1] and ids.dtype == np.int32
    assert lengths.tolist() == [2, 1, 3]
