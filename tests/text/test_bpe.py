"""Learning a vocabulary: by hand, by definition, and for any text."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.system.errors import InputError
from numpygpt.text import bpe
from numpygpt.text.bpe import learn_bpe
from numpygpt.text.tokenizer import load_tokenizer
from numpygpt.text.vocabulary import SINGLE_BYTES, WORDS
from tests.tiny import save_tokenizer

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LETTERS = st.lists(st.text("ab", min_size=1, max_size=12), min_size=1, max_size=8).map(" ".join)


def tokens_of(encoding):
    """Return the tokens except <|endoftext|>, in the order of their ids."""
    return sorted(encoding._mergeable_ranks, key=encoding._mergeable_ranks.get)


def merges(encoding):
    return tokens_of(encoding)[256:]


def largest(texts):
    """Return the largest vocabulary size that the texts yield, taken from the error for a larger one."""
    with pytest.raises(InputError, match=r"the text yields only \d+ vocabulary entries, not 100000") as error:
        learn_bpe(texts, 100_000)
    return int(re.search(r"only (\d+)", str(error.value))[1])


def by_definition(text, size):
    """Return (tokens, text as ids). Each step recounts all pairs and merges the most frequent from left to right."""
    words = [[SINGLE_BYTES.index(byte) for byte in word.encode()] for word in re.findall(" ?[ab]+", text)]
    tokens = [bytes([byte]) for byte in SINGLE_BYTES]
    while len(tokens) < size - 1:
        pairs = Counter(pair for word in words for pair in zip(word, word[1:]))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [len(tokens)]
                i += 1
        tokens.append(tokens[best[0]] + tokens[best[1]])
    return tokens, sum(words, [])


def test_merges_equal_a_hand_calculation():
    # "low" once, " low" 4 times, " lower" twice. (l, o) and (o, w) occur 7 times each. (l, o) has the smaller ids and
    # comes first. Then (lo, w) 7 times, (space, low) 6. Then (e, r) and (space-low, e), twice each; then (space-low,
    # er), and no pair is left.
    texts = ["low low low low low", " lower lower"]
    encoding = learn_bpe(texts, 262)
    assert merges(encoding) == [b"lo", b"low", b" low", b"er", b" lower"]
    assert encoding.encode_ordinary("lower low slow") == [257, 259, 258, 220, SINGLE_BYTES.index(ord("s")), 257]
    assert largest(texts) == 262


@given(text=LETTERS)
def test_incremental_pair_counts_equal_full_recounts(text):
    size = largest([text])
    encoding = learn_bpe([text], size)
    tokens, ids = by_definition(text, size)
    assert tokens_of(encoding) == tokens
    assert encoding.encode_ordinary(text) == ids, "encoding splits the text differently from learning"


@given(texts=st.lists(ANY_TEXT | LETTERS, max_size=5), text=ANY_TEXT)
def test_a_vocabulary_from_any_text_encodes_and_decodes_any_text(texts, text):
    size = largest(texts)
    for asked in {257, size}:
        encoding = learn_bpe(texts, asked)
        assert encoding.n_vocab == asked and encoding.eot_token == asked - 1
        assert sorted(encoding._mergeable_ranks.values()) == list(range(asked - 1))
        for each in [text, *texts]:
            assert encoding.decode(encoding.encode_ordinary(each), errors="strict") == each


@settings(max_examples=30)
@given(texts=st.lists(LETTERS, min_size=1, max_size=6), data=st.data())
def test_learning_is_deterministic_and_ignores_the_order_of_texts(texts, data):
    size = largest(texts)
    assert merges(learn_bpe(texts, size)) == merges(learn_bpe(data.draw(st.permutations(texts)), size))


@settings(max_examples=20)
@given(texts=st.lists(ANY_TEXT | LETTERS, max_size=5), text=ANY_TEXT)
def test_a_learned_vocabulary_survives_saving(tmp_path_factory, texts, text):
    encoding, folder = learn_bpe(texts, largest(texts)), tmp_path_factory.mktemp("learned")
    save_tokenizer(encoding, folder)
    stored = load_tokenizer(folder)
    assert tokens_of(stored) == tokens_of(encoding)
    assert stored.encode_ordinary(text) == encoding.encode_ordinary(text)


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\t\r'")))
def test_learning_splits_ascii_text_into_gpt2s_words(text):
    regex = pytest.importorskip("regex")
    assert bpe._SPLIT.findall(text) == regex.findall(WORDS, text)


@given(text=ANY_TEXT)
def test_splitting_into_words_loses_no_character(text):
    assert "".join(bpe._SPLIT.findall(text)) == text


def test_no_token_crosses_a_word_number_or_punctuation_boundary():
    texts = ["the2nd cat's hat!! "] * 50
    learned = merges(learn_bpe(texts, largest(texts)))
    assert not [token for token in learned if re.search(rb"[a-z][^a-z']|[0-9][^0-9]|[^ ][ ]|!['a-z]", token)]
    assert {b"the", b"nd", b"'s", b"!!", b" cat", b" hat"} <= set(learned)


@pytest.mark.parametrize("size", [256, 0, -1])
def test_a_vocabulary_smaller_than_all_bytes_is_refused(size):
    with pytest.raises(InputError, match=f"a vocabulary of {size} entries is too small"):
        learn_bpe(["some text"], size)
