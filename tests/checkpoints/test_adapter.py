"""PEFT's adapters: merged as PEFT merges them, or refused by name."""

import json
import shutil

import numpy as np
import pytest

from numpygpt import convert
from numpygpt.api.run import load_run
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_checkpoint, load_weights
from numpygpt.checkpoints.safetensors import write_safetensors
from numpygpt.model.parameters import random_parameters
from tests.checkpoints.test_load import BYTES, CONFIG, refusal, same

MATRIX = "h.1.attn.c_attn"
PREFIX = f"base_model.model.transformer.{MATRIX}"


@pytest.fixture(scope="module")
def params():
    return random_parameters(CONFIG, seed=0)


@pytest.fixture(scope="module")
def factors():
    rng = np.random.default_rng(1)
    return rng.standard_normal((2, 64), np.float32), rng.standard_normal((192, 2), np.float32)


def adapter(folder, factors, base, more=(), **changes):
    folder.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": base, "r": 2, "lora_alpha": 8, "use_dora": False}
    config = {key: value for key, value in (config | changes).items() if value is not None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    names = (f"{PREFIX}.lora_A.weight", f"{PREFIX}.lora_B.weight")
    write_safetensors(folder / "adapter_model.safetensors", dict(zip(names, factors)) | dict(more))
    return folder


@pytest.mark.parametrize("base", ["../base", "base", "{}/base"])
def test_an_adapter_is_merged_into_the_base_model_it_names(tmp_path, params, factors, base):
    save_folder(tmp_path / "base", CONFIG, params, BYTES)
    folder = adapter(tmp_path / "adapter", factors, base.format(tmp_path))
    first, second = factors
    expected = params | {f"{MATRIX}.weight": params[f"{MATRIX}.weight"] + np.float32(4) * (second @ first).T}
    config, loaded, encoding = load_checkpoint(folder)
    assert config == CONFIG and same(loaded, expected) and encoding.n_vocab == 257
    assert same(load_weights(folder / "adapter_model.safetensors")[1], expected)


def test_rank_stabilised_lora_has_its_own_scale_and_saved_modules_replace_the_bases(tmp_path, params, factors):
    save_folder(tmp_path / "base", CONFIG, params)
    bias = np.arange(64, dtype=np.float32)
    more = {"base_model.model.transformer.ln_f.bias": bias}
    folder = adapter(tmp_path / "adapter", factors, "base", more, use_rslora=True)
    loaded = load_weights(folder)[1]
    expected = params[f"{MATRIX}.weight"] + np.float32(8 / 2**0.5) * (factors[1] @ factors[0]).T
    np.testing.assert_allclose(loaded[f"{MATRIX}.weight"], expected, rtol=1e-6)
    assert np.array_equal(loaded["ln_f.bias"], bias)


def test_convert_merges_an_adapter_into_a_given_base(tmp_path, params, factors):
    save_folder(tmp_path / "elsewhere", CONFIG, params, BYTES)
    folder = adapter(tmp_path / "adapter", factors, "someone/gpt2-portuguese")
    message = refusal(folder)
    assert "whose base model 'someone/gpt2-portuguese' is not here; merge it first" in message
    assert f"python -m numpygpt.convert {folder} MERGED --base BASE" in message
    convert.main([str(folder), str(tmp_path / "merged"), "--base", str(tmp_path / "elsewhere")])
    loaded = load_checkpoint(tmp_path / "merged")[1]
    assert not np.array_equal(loaded[f"{MATRIX}.weight"], params[f"{MATRIX}.weight"])
    with pytest.raises(ValueError, match="not a PEFT adapter, so it has no base"):
        load_checkpoint(tmp_path / "elsewhere", base="mini")


ZEROS = np.zeros((2, 2), np.float32)
ONES = np.ones((CONFIG.vocab_size, CONFIG.n_embd), np.float32)
DAMAGE = [
    (dict(peft_type="IA3"), {}, "(peft_type is 'IA3'); merge it first: with PEFT, model.merge_and_unload()"),
    (dict(peft_type=None), {}, "cannot merge (peft_type is None)"),
    (dict(use_dora=True), {}, "cannot merge (use_dora is True)"),
    (dict(rank_pattern={"c_attn": 4}), {}, "cannot merge (rank_pattern is {'c_attn': 4})"),
    (dict(r="2"), {}, "expected numbers r and lora_alpha, found '2' and 8"),
    ({}, {"base_model.model.transformer.wte.lora_embedding_A": ZEROS}, "it has 'base_model.model.transformer.wte."),
    ({}, {"base_model.model.transformer.wte.lora_A.weight": ZEROS}, "it adapts wte.weight"),
    ({}, {"base_model.model.transformer.wte.weight": ONES}, "output layer, lm_head.weight, differs from the token"),
    ({}, {"base_model.model.transformer.h.9.ln_1.bias": ZEROS}, "it adapts h.9.ln_1.bias"),
    ({}, {f"{PREFIX}.lora_A.weight": ZEROS}, "shapes (2, 2) and (192, 2), which do not fit its base's (64, 192)"),
    ({}, {"base_model.model.transformer.h.0.attn.c_attn.lora_A.weight": ZEROS}, "the shapes (2, 2) and None"),
    ({}, {"base_model.model.transformer.ln_f.bias": ZEROS}, "ln_f.bias has shape (2, 2), expected (64,)"),
]


@pytest.mark.parametrize("changes, more, message", DAMAGE, ids=[message for *_, message in DAMAGE])
def test_an_unsupported_adapter_is_refused_in_one_line(tmp_path, params, factors, changes, more, message):
    save_folder(tmp_path / "base", CONFIG, params)
    folder = adapter(tmp_path / "adapter", factors, "base", more, **changes)
    assert message in refusal(folder)


def test_an_adapter_without_weights_is_refused_by_name(tmp_path, params, factors):
    save_folder(tmp_path / "base", CONFIG, params)
    folder = adapter(tmp_path / "adapter", factors, "base")
    (folder / "adapter_model.safetensors").unlink()
    assert "a PEFT adapter without adapter_model.safetensors or adapter_model.bin" in refusal(folder)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task, name", [("CAUSAL_LM", "GPT2LMHeadModel"), ("SEQ_CLS", "GPT2ForSequenceClassification")])
def test_an_adapter_saved_by_peft_is_merged_as_peft_merges_it(tmp_path, task, name):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    sizes = dict(vocab_size=257, n_positions=7, n_embd=8, n_layer=2, n_head=2, num_labels=3, pad_token_id=256)
    getattr(transformers, name)(transformers.GPT2Config(**sizes)).save_pretrained(tmp_path / "base")
    model = getattr(transformers, name).from_pretrained(tmp_path / "base")
    config = peft.LoraConfig(task_type=task, r=2, lora_alpha=6, target_modules=["c_attn", "mlp.c_fc"], bias="all")
    model = peft.get_peft_model(model, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    model.save_pretrained(tmp_path / "adapter")
    theirs = model.merge_and_unload().eval()
    state = {key.removeprefix("transformer."): tensor.numpy() for key, tensor in theirs.state_dict().items()}
    config, loaded = load_weights(tmp_path / "adapter")
    assert config.n_head == 2 and len(loaded) == 28
    for key, array in loaded.items():
        np.testing.assert_allclose(array, state[key], atol=1e-6, err_msg=key)
    if task == "SEQ_CLS":
        for path in ("vocab.json", "merges.txt"):
            save_folder(tmp_path / "files", config, loaded, BYTES)
            shutil.copy(tmp_path / "files" / path, tmp_path / "adapter")
        clf = load_run(tmp_path / "adapter")
        with torch.no_grad():
            expected = theirs(torch.tensor([clf.encode(["abc"])[0]])).logits.numpy()
        np.testing.assert_allclose(clf.logits(["abc"]), expected, atol=1e-4)
        assert clf.labels == ["LABEL_0", "LABEL_1", "LABEL_2"]
