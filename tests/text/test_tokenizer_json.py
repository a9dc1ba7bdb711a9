"""tokenizer.json and added tokens give the ids of Hugging Face's libraries, or are refused."""

import json
import pickle

import pytest

from numpygpt.system.errors import InputError
from numpygpt.text.tokenizer import encode_message, load_tokenizer
from numpygpt.text.vocabulary import ENDOFTEXT
from tests.text.test_tokenizer import TRAINING_TEXT, VARIED, train, write
from tests.tiny import save_tokenizer

TEXTS = [*VARIED, TRAINING_TEXT, "a<user>b <user>", "<user><user>s", "x <users> [PAD] </s><s>"]


def content(small, added=(), **changes):
    """Return a tokenizer.json like transformers' for a small vocabulary. model_KEY=… changes its model."""
    vocab, lines = small
    entries = [{"id": vocab[ENDOFTEXT], "content": ENDOFTEXT, "special": True}, *added]
    whole = {
        "version": "1.0",
        "added_tokens": [
            {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False} | entry for entry in entries
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": [line.split(" ") for line in lines]},
    }
    for key, value in changes.items():
        target = whole["model"] if key.startswith("model_") else whole
        target[key.removeprefix("model_")] = value
    return whole


def put(folder, whole):
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture
def small():
    return train(TRAINING_TEXT, 40)


def refusal(folder):
    with pytest.raises(InputError) as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value)


@pytest.mark.parametrize("merges", ["lists", "strings"])
def test_tokenizer_json_alone_gives_the_ids_of_the_older_files(tmp_path, small, merges):
    whole = content(small) if merges == "lists" else content(small, model_merges=small[1])
    new, old = load_tokenizer(put(tmp_path / "new", whole)), load_tokenizer(write(tmp_path / "old", *small))
    assert new._mergeable_ranks == old._mergeable_ranks and new.eot_token == old.eot_token
    for text in VARIED:
        assert encode_message(new, text) == encode_message(old, text)


ADDED = [
    {"id": 297, "content": "[PAD]", "special": True},
    {"id": 298, "content": "<user>", "special": False},
    {"id": 299, "content": "<users>", "special": False},
]


def test_only_added_tokens_that_are_not_special_are_found_in_text(tmp_path, small):
    encoding = load_tokenizer(put(tmp_path / "new", content(small, ADDED)))
    assert encoding.n_vocab == 300 and encoding.eot_token == 296
    assert encode_message(encoding, "a<user>b<users>") == [small[0]["a"], 298, small[0]["b"], 299]
    assert 297 not in encode_message(encoding, "[PAD]")
    assert encoding.decode([298, small[0]["a"]]) == "<user>a"


def test_an_encoding_with_added_tokens_survives_pickling_and_saving(tmp_path, small):
    encoding = load_tokenizer(put(tmp_path / "new", content(small, ADDED)))
    (tmp_path / "saved").mkdir()
    save_tokenizer(encoding, tmp_path / "saved")
    for other in (pickle.loads(pickle.dumps(encoding)), load_tokenizer(tmp_path / "saved")):
        assert other.n_vocab == 300 and other.eot_token == 296
        for text in TEXTS:
            assert encode_message(other, text) == encode_message(encoding, text)


def test_added_tokens_beside_the_older_files_are_read_in_both_forms(tmp_path, small):
    old = write(tmp_path / "old", *small)
    (old / "added_tokens.json").write_text('{"[PAD]": 297, "<user>": 298}')
    (old / "special_tokens_map.json").write_text('{"pad_token": {"content": "[PAD]"}, "eos_token": "[PAD]"}')
    encoding = load_tokenizer(old)
    assert encode_message(encoding, "[PAD]<user>")[-1] == 298 and 297 not in encode_message(encoding, "[PAD]<user>")
    assert encoding.eot_token == 297
    decoder = {str(entry["id"]): entry for entry in ADDED}
    newer = write(tmp_path / "newer", *small)
    (newer / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    encoding = load_tokenizer(newer)
    assert encode_message(encoding, "[PAD]<user>")[-1] == 298 and encoding.eot_token == 296


def test_special_tokens_may_precede_the_bytes_and_the_end_token_may_differ(tmp_path, small):
    """Hugging Face's ByteLevelBPETokenizer learns such tokenizers."""
    vocab, lines = small
    del vocab[ENDOFTEXT]
    shifted = {"<s>": 0, "<pad>": 1, "</s>": 2} | {token: number + 3 for token, number in vocab.items()}
    old = write(tmp_path / "old", shifted, lines)
    assert "there is no <|endoftext|>, and no tokenizer_config.json that names another" in refusal(old)
    (old / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    encoding = load_tokenizer(old)
    assert encoding.eot_token == 2 and encode_message(encoding, "the</s>")[-4:] == [shifted[c] for c in "</s>"]
    (tmp_path / "saved").mkdir()
    save_tokenizer(encoding, tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").eot_token == 2


def test_tokenizer_json_takes_precedence_over_the_older_files(tmp_path, small):
    folder = put(write(tmp_path / "both", *train(TRAINING_TEXT, 20)), content(small))
    assert load_tokenizer(folder).n_vocab == 297


FLAGGED = {"id": 297, "content": "<user>", "special": False}
TEMPLATE = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "[CLS]"}}]}
DAMAGE = [
    (dict(normalizer={"type": "NFC"}), 'its normalizer is {"type": "NFC"}; numpygpt computes only null'),
    (dict(pre_tokenizer=None), "its pre_tokenizer is null; numpygpt computes only"),
    (dict(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}), 'its pre_tokenizer is {"type": "ByteLevel"'),
    (dict(pre_tokenizer={"type": "Whitespace"}), 'its pre_tokenizer is {"type": "Whitespace"}'),
    (dict(pre_tokenizer={"type": "Sequence", "pretokenizers": 3}), 'its pre_tokenizer is {"type": "Sequence"'),
    (dict(post_processor=TEMPLATE), "its post_processor is "),
    (dict(post_processor={"type": "BertProcessing"}), "its post_processor is "),
    (dict(post_processor=[]), "its post_processor is []"),
    (dict(model=None), "expected a tokenizer with a model, found 'None'"),
    (dict(model_type="WordPiece"), 'its model\'s type is "WordPiece"; numpygpt computes only "BPE"'),
    (dict(model_ignore_merges=True), "its model's ignore_merges is true"),
    (dict(model_dropout=0.1), "its model's dropout is 0.1"),
    (dict(model_end_of_word_suffix="</w>"), 'its model\'s end_of_word_suffix is "</w>"'),
    (dict(model_vocab=[["a", 0]]), "expected a JSON object of tokens and their ids"),
    (dict(model_vocab={"a": "0"}), "the id of token 'a' is not a whole number"),
    (dict(model_merges=["a b c"]), "merge 1: expected two tokens, found 'a b c'"),
    (dict(model_merges=[["a"]]), """merge 1: expected two tokens, found "['a']\""""),
    (dict(model_merges={"a": "b"}), "merges must be a list"),
    (dict(model_merges=[]), "no merge makes "),
    (dict(added=[[]]), "expected an added token's content and id, found '[]'"),
    (dict(added=[FLAGGED | {"lstrip": True}]), "the added token '<user>' has lstrip, which numpygpt does not compute"),
    (dict(added=[FLAGGED | {"id": "x"}]), "the id of token '<user>' is not a whole number"),
    (dict(added=[FLAGGED | {"id": 300}]), "no token has id 297, expected ids from 0 to 297"),
    (dict(added=[FLAGGED | {"content": "the", "id": 297}]), "token 'the' has the id "),
]


@pytest.mark.parametrize("changes, message", DAMAGE, ids=[message for _, message in DAMAGE])
def test_an_unsupported_tokenizer_json_is_refused_in_one_line(tmp_path, small, changes, message):
    changes = dict(changes)
    added = changes.pop("added", ())
    whole = content(small, [entry for entry in added if entry], **changes)
    whole["added_tokens"] += [entry for entry in added if not entry]
    assert message in refusal(put(tmp_path / "bad", whole))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_tokenizer_json_that_is_not_a_json_object_is_named(tmp_path, text):
    (tmp_path / "tokenizer.json").write_bytes(text)
    assert "tokenizer.json: " in refusal(tmp_path)


@pytest.mark.parametrize(
    "name, kind", [("vocab.txt", "WordPiece"), ("tokenizer.model", "SentencePiece"), ("meta.pkl", "nanoGPT's table")]
)
def test_another_kind_of_tokenizer_is_refused_by_name(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"x")
    assert f"{name}: {kind}" in refusal(tmp_path)


def test_a_missing_file_and_a_prefix_space_are_refused_by_name(tmp_path, small):
    folder = write(tmp_path / "old", *small)
    (folder / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    assert "add_prefix_space is true" in refusal(folder)
    (folder / "tokenizer_config.json").unlink()
    (folder / "merges.txt").unlink()
    assert "the folder has vocab.json but no merges.txt" in refusal(folder)


def test_a_tokenizer_saved_by_transformers_with_added_tokens_gives_its_ids(tmp_path, small):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2Tokenizer.from_pretrained(write(tmp_path / "old", *small))
    theirs.add_special_tokens({"pad_token": "[PAD]"})
    theirs.add_tokens(["<user>", "<users>", "gather"])
    theirs.save_pretrained(tmp_path / "new")
    encoding = load_tokenizer(tmp_path / "new")
    (tmp_path / "saved").mkdir()
    save_tokenizer(encoding, tmp_path / "saved")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert encoding.n_vocab == len(theirs) == len(again) and encoding.eot_token == theirs.eos_token_id
    for text in TEXTS:
        expected = theirs(text, split_special_tokens=True).input_ids if "<us" not in text else None
        for tokenizer in (theirs, again):  # special tokens are ordinary text for us: compare texts without them
            if not any(token in text for token in ("[PAD]", ENDOFTEXT)):
                expected = tokenizer(text).input_ids
                assert encode_message(encoding, text) == expected


def test_a_tokenizer_learned_by_the_tokenizers_library_gives_its_ids(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.ByteLevelBPETokenizer()
    theirs.train_from_iterator([TRAINING_TEXT] * 3, vocab_size=290, special_tokens=["<s>", "<pad>", "</s>"])
    for name, save in (("old", theirs.save_model), ("new", lambda folder: theirs.save(f"{folder}/tokenizer.json"))):
        (tmp_path / name).mkdir()
        save(str(tmp_path / name))
        (tmp_path / name / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
        encoding = load_tokenizer(tmp_path / name)
        assert encoding.n_vocab == theirs.get_vocab_size() and encoding.eot_token == theirs.token_to_id("</s>")
        for text in VARIED:
            assert encode_message(encoding, text) == theirs.encode(text).ids
