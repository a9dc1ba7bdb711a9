"""python -m numpygpt.convert writes the model it read, and --check distinguishes equal from different models."""

import numpy as np
import pytest

from numpygpt import convert
from numpygpt.checkpoints.book import to_book
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_checkpoint
from numpygpt.commands.convert import largest_difference
from numpygpt.model.config import Config
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError
from tests.checkpoints.test_load import BYTES, CONFIG, same
from tests.checkpoints.writers import write_openai, write_torch
from tests.tiny import save_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::numpygpt.system.errors.Note")


@pytest.fixture
def params():
    return random_parameters(CONFIG, seed=0)


@pytest.fixture
def source(tmp_path, params):
    """Return the book's .pth, with a tokenizer beside it."""
    (tmp_path / "source").mkdir()
    write_torch(tmp_path / "source" / "gpt2.pth", to_book(params, CONFIG))
    save_tokenizer(BYTES, tmp_path / "source")
    return tmp_path / "source" / "gpt2.pth"


def run(*words):
    """Run convert and return its exit status."""
    try:
        convert.main([*map(str, words), "--heads", "1"])
    except SystemExit as stop:
        return stop.code
    return 0


def test_a_books_file_is_converted_to_a_folder_of_the_same_model(source, tmp_path, params, capsys):
    assert run(source, tmp_path / "out") == 0
    config, loaded, encoding = load_checkpoint(tmp_path / "out")
    assert config == CONFIG and same(loaded, params) and encoding.encode_ordinary("a") == [97]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"config.json", "model.safetensors", "vocab.json", "merges.txt"}
    size = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert (
        f"{sum(array.size for array in params.values()):,} parameters in 28 tensors, float32, {size:,} bytes"
        in capsys.readouterr().out
    )
    assert run(source, tmp_path / "out", "--check") == 0


def test_half_rounds_values_and_check_reports_it(source, tmp_path, params, capsys):
    assert run(source, tmp_path / "out", "--half") == 0
    assert same(
        load_checkpoint(tmp_path / "out")[1],
        {name: array.astype(np.float16).astype(np.float32) for name, array in params.items()},
    )
    assert run(source, tmp_path / "out", "--half", "--check") == 0
    capsys.readouterr()
    assert run(source, tmp_path / "out", "--check") == 1
    lines = capsys.readouterr().out.splitlines()
    rounding = np.abs(params["wte.weight"] - params["wte.weight"].astype(np.float16)).max()
    assert lines[0].split() == ["wte.weight", "(257,", "64)", f"{rounding:.3g}"]
    assert lines[-1] == "10 of 28 tensors differ" and lines[2].split()[-1] == "equal"  # the ten random matrices differ


def test_check_finds_one_changed_value_and_names_its_tensor(tmp_path, source, params, capsys):
    changed = params | {"h.1.ln_2.bias": params["h.1.ln_2.bias"].copy()}
    changed["h.1.ln_2.bias"][5] -= 0.25
    write_openai(tmp_path / "openai", CONFIG, changed)
    assert run(source, tmp_path / "openai", "--check") == 1
    different = [line for line in capsys.readouterr().out.splitlines() if not line.endswith("equal")]
    assert different == ["h.1.ln_2.bias            (64,)          0.25", "1 of 28 tensors differ"]


def test_check_refuses_models_of_different_sizes(source, tmp_path):
    save_folder(tmp_path / "other", Config(257, 7, 64, 2, 1, 1e-6), random_parameters(CONFIG, seed=0), BYTES)
    with pytest.raises(InputError, match="have different sizes"):
        run(source, tmp_path / "other", "--check")


def test_check_refuses_a_base_which_it_would_not_read(source, tmp_path):
    with pytest.raises(InputError, match="--check reads no base model: omit --base"):
        run(source, tmp_path / "out", "--check", "--base", "gpt2")


def test_check_writes_nothing(source, tmp_path):
    with pytest.raises(InputError, match="no such folder or file"):
        run(source, tmp_path / "out", "--check")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer.json"])
def test_convert_never_overwrites_a_folder_with_a_model(source, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("precious")
    with pytest.raises(InputError, match=f"the folder already has {name}; name another folder"):
        run(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_text() == "precious"


def test_values_too_large_for_half_leave_no_incomplete_folder(tmp_path, params):
    params["ln_f.bias"][:] = 1e6
    write_torch(tmp_path / "gpt2.pth", params)
    save_tokenizer(BYTES, tmp_path)
    with pytest.raises(InputError, match="tensor ln_f.bias has values too large for float16"):
        run(tmp_path / "gpt2.pth", tmp_path / "out", "--half")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "one, other, difference",
    [
        ([1, np.nan, np.inf, -np.inf], [1, np.nan, np.inf, -np.inf], 0),
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.inf], [-np.inf], np.inf),
        ([0.0], [-0.0], 0),
        ([np.nan, 1], [0, 1], np.nan),
    ],
)
def test_the_largest_difference_handles_nan_and_infinity(one, other, difference):
    found = largest_difference(np.array(one, np.float32), np.array(other, np.float32))
    assert found == difference or (np.isnan(found) and np.isnan(difference))


def test_transformers_and_the_converted_folder_agree(source, tmp_path, params):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    run(source, tmp_path / "out")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    state = {name.removeprefix("transformer."): tensor.numpy() for name, tensor in model.state_dict().items()}
    del state["lm_head.weight"]
    assert same(state, params)
