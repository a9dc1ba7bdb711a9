"""A folder's tokenizer equals tiktoken's GPT-2 and transformers', and damaged files are refused."""

import collections
import json
import shutil

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.model.config import Config
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError
from numpygpt.text.tokenizer import encode_message, load_tokenizer, tokenizer_files
from tests.tiny import save_tokenizer

TRAINING_TEXT = (
    "the theme of this thesis: then there's the other, gathering 33 feathers there — the café in the north… "
)
VARIED = [
    "",
    " ",
    "Hello, world! It's 12,345.67 o'clock; they'll've said DON'T",
    "  two  spaces\t\ttabs\n\n\nlines \r\n end   ",
    "naïve café — Ελληνικά русский עברית 中文字 日本語 한국어 हिन्दी",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u200b \ufeff \x00\x1f\x7f \u00a0 \u2028",
    "a literal <|endoftext|> in a message <|endoftext|>",
    "x" * 300 + " " * 100,
]


def byte_characters():
    """Return [character of byte 0, …, of byte 255], as in openai/gpt-2's bytes_to_unicode."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + hidden.index(byte)) for byte in range(256)]


def train(text, merges):
    """Return (vocab, lines of merges.txt) of a small BPE. Each round merges the most frequent pair."""
    characters = byte_characters()
    words = [[characters[byte] for byte in f" {word}".encode()] for word in text.split()]
    vocab = {character: number for number, character in enumerate(sorted(characters, key=ord))}
    lines = []
    while len(lines) < merges:
        pairs = collections.Counter(pair for word in words for pair in zip(word, word[1:]))
        if not pairs:
            break
        first, second = max(pairs, key=lambda pair: (pairs[pair], pair))
        lines.append(f"{first} {second}")
        vocab[first + second] = len(vocab)
        for word in words:
            place = 0
            while place < len(word) - 1:  # from left to right, as in encoding
                if word[place : place + 2] == [first, second]:
                    word[place : place + 2] = [first + second]
                place += 1
    return vocab | {"<|endoftext|>": len(vocab)}, lines


def write(folder, vocab, lines):
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def small():
    return train(TRAINING_TEXT, 40)


@pytest.fixture
def folder(tmp_path, small):
    return write(tmp_path / "small", *small)


@pytest.fixture(scope="session")
def published(shared, tmp_path_factory):
    """Return a folder with GPT-2's own two files."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copy(shared / "tiktoken" / "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6", folder / "vocab.json")
    shutil.copy(shared / "tiktoken" / "6d1cbeee0f20b3d9449abfede4726ed8212e3aee", folder / "merges.txt")
    return folder


@pytest.fixture(scope="session")
def gpt2(published):
    return load_tokenizer(published)


@pytest.fixture(scope="session")
def tiktokens_own(shared, tmp_path_factory):
    """Return tiktoken's gpt2 from a copy of its cache, because it deletes a cached file with a wrong hash."""
    cache = tmp_path_factory.mktemp("cache") / "tiktoken"
    shutil.copytree(shared / "tiktoken", cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        return load_tokenizer("gpt2")


def refusal(folder):
    with pytest.raises(InputError) as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value)


def test_the_published_files_give_tiktokens_ids(gpt2, tiktokens_own):
    assert gpt2._mergeable_ranks == tiktokens_own._mergeable_ranks
    assert gpt2._special_tokens == tiktokens_own._special_tokens and gpt2.n_vocab == 50257
    for text in VARIED:
        assert gpt2.encode_ordinary(text) == tiktokens_own.encode_ordinary(text)
        assert gpt2.encode(text, allowed_special="all") == tiktokens_own.encode(text, allowed_special="all")


@settings(max_examples=300)
@given(st.text() | st.text(alphabet=" \t\n'sdmtlvreSDMTLVRE09a.é\u00a0\u2003<|>"))
def test_any_text_gets_the_same_ids_from_the_folder_as_from_tiktoken(gpt2, tiktokens_own, text):
    ids = gpt2.encode_ordinary(text)
    assert ids == tiktokens_own.encode_ordinary(text) and gpt2.decode(ids) == text


def test_every_message_of_the_data_set_gets_tiktokens_ids_from_the_folder(gpt2, tiktokens_own, shared):
    messages = (shared / "data" / "SMSSpamCollection").read_text(encoding="utf-8").split("\n")
    assert len(messages) > 5000
    assert gpt2.encode_ordinary_batch(messages) == tiktokens_own.encode_ordinary_batch(messages)


def test_gpt2s_files_are_written_byte_for_byte(gpt2, published, tmp_path):
    save_tokenizer(gpt2, tmp_path)
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (published / name).read_bytes()


def test_openais_file_names_are_accepted(published, gpt2, tmp_path):
    shutil.copy(published / "vocab.json", tmp_path / "encoder.json")
    shutil.copy(published / "merges.txt", tmp_path / "vocab.bpe")
    assert load_tokenizer(tmp_path)._mergeable_ranks == gpt2._mergeable_ranks


def test_literal_endoftext_in_a_message_is_ordinary_text(folder):
    encoding = load_tokenizer(folder)
    ids = encode_message(encoding, "buy <|endoftext|> now")
    assert encoding.eot_token not in ids and encoding.decode(ids) == "buy <|endoftext|> now"


def test_half_a_surrogate_pair_in_a_message_is_encoded(folder):
    assert encode_message(load_tokenizer(folder), "a\ud83d") != []


def test_ids_come_from_the_folders_vocabulary(folder, small):
    vocab, lines = small
    encoding = load_tokenizer(str(folder))
    assert encoding.n_vocab == len(vocab) and encoding.eot_token == len(vocab) - 1
    characters = byte_characters()
    for token, number in vocab.items():
        if number != encoding.eot_token:
            assert "".join(characters[byte] for byte in encoding.decode_single_token_bytes(number)) == token
    assert vocab["Ġthe"] in encode_message(encoding, "in the north")


def test_a_vocabulary_without_merges_encodes_single_bytes(tmp_path):
    encoding = load_tokenizer(write(tmp_path / "bytes", *train("", 0)))
    assert encoding.n_vocab == 257 and encoding.decode(encode_message(encoding, "é€")) == "é€"
    assert len(encode_message(encoding, "é€")) == 5


def test_a_small_vocabulary_survives_saving(folder, small, tmp_path):
    vocab, lines = small
    encoding = load_tokenizer(folder)
    texts = tokenizer_files(encoding)
    assert json.loads(texts["vocab.json"]) == vocab
    assert texts["merges.txt"] == (folder / "merges.txt").read_text(encoding="utf-8")


def test_loading_a_folder_needs_neither_network_nor_tiktokens_cache(folder, tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tiktoken, "get_encoding", None)
    before = load_tokenizer(folder).n_vocab
    write(folder, *train(TRAINING_TEXT, 20))
    assert load_tokenizer(folder).n_vocab < before  # a cache would still give the old size
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_local_folder_named_gpt2_takes_precedence_over_the_download(tmp_path, monkeypatch, small):
    write(tmp_path / "gpt2", *small)
    monkeypatch.chdir(tmp_path)
    assert load_tokenizer("gpt2").n_vocab == len(small[0])


@pytest.mark.parametrize("failure", [ConnectionError("Max retries\nexceeded"), ValueError("Hash mismatch")])
def test_a_network_error_says_what_to_do(tmp_path, monkeypatch, failure):
    def fail(name):
        raise failure

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tiktoken, "get_encoding", fail)
    message = refusal("gpt2")
    assert "network" in message and "vocab.json" in message and "TIKTOKEN_CACHE_DIR" in message


def test_a_missing_folder_and_one_without_tokenizer_are_named(tmp_path):
    assert f"{tmp_path / 'absent'}: no such folder" in refusal(tmp_path / "absent")
    assert f"{tmp_path}: the folder has no tokenizer" in refusal(tmp_path)


def vocab_with(**ids):
    """Return a function that sets ids in the vocabulary. None removes a token."""

    def damage(vocab, lines):
        vocab |= ids
        for token in [token for token, number in ids.items() if number is None]:
            del vocab[token]

    return damage


def line_6(text):
    return lambda vocab, lines: lines.__setitem__(4, text)


END = "<|endoftext|>"
DAMAGE = [  # (damage of vocabulary and merges, error)
    (vocab_with(a=None), "vocab.json: byte 97 ('a') has no id"),
    (vocab_with(a=300), "vocab.json: no token has id 64, expected ids from 0 to 296"),
    (lambda vocab, lines: vocab.update(a=vocab["b"]), "vocab.json: no token has id 64, expected ids from 0 to 296"),
    *((vocab_with(a=bad), "the id of token 'a' is not a whole number") for bad in ("7", True, -1, 10**30)),
    (vocab_with(**{END: 0}), "vocab.json: two tokens have id 0"),
    (vocab_with(**{END: None}), f"vocab.json: there is no {END}, and no tokenizer_config.json that names another"),
    (vocab_with(**{"日本": 297}), "vocab.json: no merge makes '日本', and no file declares it as an added token"),
    (vocab_with(**{"[PAD]": 298}), "vocab.json: no token has id 297"),
    *((vocab_with(Ġthe=bad), f"line {{the}}: vocab.json gives its result 'Ġthe' the id {bad}") for bad in (9, None)),
    *((line_6(bad), f"line 6: expected two tokens with a space between, found {bad!r}") for bad in ("ab", "", "a ")),
    (line_6("a b c"), "line 6: expected two tokens with a space between, found 'a b c'"),
    (line_6("a zz"), "merges.txt, line 6: 'zz' is neither a byte nor the result of a merge above"),
    (line_6("a 日"), "merges.txt, line 6: '日' is neither a byte nor the result of a merge above"),
    (lambda vocab, lines: lines.__setitem__(4, lines[0]), "merges.txt, line 6: a merge above already makes"),
    (lambda vocab, lines: lines.reverse(), "merges.txt, line 2: "),
    (lambda vocab, lines: lines.pop(), "vocab.json: no merge makes "),
    (lambda vocab, lines: lines.append("q q"), "line 42: vocab.json gives its result 'qq' the id None"),
]


@pytest.mark.parametrize("damage, message", DAMAGE, ids=[message for _, message in DAMAGE])
def test_contradictory_tokenizer_files_are_refused_with_the_place(tmp_path, small, damage, message):
    vocab, lines = small
    the = next(number for number, line in enumerate(lines) if line.replace(" ", "") == "Ġthe")
    damage(vocab, lines)
    assert message.replace("{the}", str(the + 2)) in refusal(write(tmp_path / "edited", vocab, lines))


@pytest.mark.parametrize(
    "name, content, message",
    [("merges.txt", b"#version: 0.2\n\xff \xfe\n", "merges.txt: not UTF-8"), ("vocab.json", b"[]", "a JSON object")]
    + [("vocab.json", content, "not a JSON file") for content in (b"", b"\xff", b'{"a": 1', b"[" * 100_000)],
)
def test_a_tokenizer_file_of_another_kind_is_named(folder, name, content, message):
    (folder / name).write_bytes(content)
    assert f"{folder / name}: " in refusal(folder) and message in refusal(folder)


def test_windows_line_ends_and_a_missing_version_line_are_accepted(folder):
    expected = load_tokenizer(folder)._mergeable_ranks
    text = (folder / "merges.txt").read_bytes()
    (folder / "merges.txt").write_bytes(text.replace(b"\n", b"\r\n"))
    assert load_tokenizer(folder)._mergeable_ranks == expected
    (folder / "merges.txt").write_bytes(text.split(b"\n", 1)[1])
    assert load_tokenizer(folder)._mergeable_ranks == expected


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return write(tmp_path_factory.mktemp("damaged") / "small", *train(TRAINING_TEXT, 40))


@settings(max_examples=200)
@given(st.data())
def test_damaged_files_are_refused_or_give_a_consistent_tokenizer(scratch, data):
    path = scratch / data.draw(st.sampled_from(["vocab.json", "merges.txt"]))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:place] + data.draw(st.binary(max_size=2)) + whole[place + data.draw(st.integers(0, 2)) :])
    try:
        encoding = load_tokenizer(scratch)
    except InputError as error:
        assert "\n" not in str(error) and str(scratch) in str(error)
    else:
        assert encoding.decode(encode_message(encoding, TRAINING_TEXT)) == TRAINING_TEXT
    finally:
        path.write_bytes(whole)


def encoding_of(ranks, special):
    return tiktoken.Encoding("other", pat_str=".", mergeable_ranks=ranks, special_tokens=special)


@pytest.mark.parametrize(
    "more, special, reason",
    [
        ({}, {}, "not built like GPT-2's"),
        ({b"ab": 300}, {"<|endoftext|>": 257}, "not built like GPT-2's"),
        ({b"abc": 256}, {"<|endoftext|>": 257}, "token 256 (b'abc') is not a merge of two earlier tokens"),
        ({b"abc": 256, b"ab": 257}, {"<|endoftext|>": 258}, "token 256 (b'abc') is not a merge"),
    ],
)
def test_an_encoding_the_file_format_cannot_hold_is_refused_before_writing(tmp_path, more, special, reason):
    ranks = {bytes([byte]): byte for byte in range(256)} | more
    with pytest.raises(InputError) as caught:
        save_tokenizer(encoding_of(ranks, special), tmp_path)
    assert reason in str(caught.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", ["small", "published"])
def test_transformers_tokenizes_a_saved_folder_alike(size, request, tmp_path):
    transformers = pytest.importorskip("transformers")
    encoding = load_tokenizer(request.getfixturevalue("folder" if size == "small" else size))
    config = Config(vocab_size=encoding.n_vocab, n_positions=8, n_embd=2, n_layer=1, n_head=1)
    save_folder(tmp_path / "saved", config, random_parameters(config, seed=0), encoding)
    for loader in (transformers.GPT2TokenizerFast, transformers.AutoTokenizer):
        theirs = loader.from_pretrained(tmp_path / "saved")
        assert len(theirs) == encoding.n_vocab and theirs.eos_token_id == encoding.eot_token
        for text in VARIED:
            assert theirs(text)["input_ids"] == encoding.encode(text, allowed_special="all")
    assert load_tokenizer(tmp_path / "saved")._mergeable_ranks == encoding._mergeable_ranks


@settings(max_examples=30)
@given(
    st.text(alphabet="abc ", min_size=20, max_size=200), st.lists(st.text(alphabet="abc ", max_size=40), max_size=10)
)
def test_any_trained_vocabulary_tokenizes_like_the_tokenizers_library(tmp_path_factory, text, messages):
    tokenizers = pytest.importorskip("tokenizers")
    folder = write(tmp_path_factory.mktemp("trained") / "t", *train(text, 40))
    encoding = load_tokenizer(folder)
    theirs = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    for message in messages:
        assert encode_message(encoding, message) == theirs.encode(message).ids
