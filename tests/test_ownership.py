"""No function changes an array that it does not own, whatever the array's kind."""

import numpy as np
import pytest

import numpygpt
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.training.schedule import clip_norm

TEXTS, LABELS = ["You won! Call now", "Home at six?", "Free prize", "see you"], ["spam", "ham", "spam", "ham"]


@pytest.fixture(scope="module")
def mini():
    return numpygpt.load("mini")


@pytest.fixture(scope="module")
def mapped(mini, tmp_path_factory):
    """Return mini from a float32 file, with read-only memory-mapped arrays."""
    folder = tmp_path_factory.mktemp("float32") / "model"
    save_folder(folder, mini.config, mini.params, mini.encoding, np.float32)
    return numpygpt.load(folder)


@pytest.mark.parametrize("which", ["mini", "mapped"])
def test_an_optimizer_refuses_a_pretrained_models_read_only_arrays(which, request):
    gpt = request.getfixturevalue(which)
    gain = gpt.params["ln_f.weight"]
    assert not gain.flags.writeable
    before = gain.copy()
    with pytest.raises(numpygpt.InputError, match="ln_f.weight is read-only"):
        numpygpt.AdamW(gpt.params, {"ln_f.weight"}, lr=1e-3).step({"ln_f.weight": np.ones_like(gain)})
    assert np.array_equal(gain, before)


def test_only_trainable_parameters_are_copied_so_the_choice_is_final(mapped):
    clf = numpygpt.Classifier(mapped, ["ham", "spam"], "head")
    with pytest.raises(AttributeError):
        clf.trainable = clf.trainable | {"wpe.weight"}
    numpygpt.fine_tune(clf, list(zip(TEXTS, LABELS)), [("you", "ham")], epochs=1, batch_size=2)
    assert clf.params["wpe.weight"] is mapped.params["wpe.weight"]


def strange(array, how):
    array = np.array(array, {"big-endian": ">f4", "float16": "f2", "float64": "f8"}.get(how, array.dtype))
    if how == "not contiguous":
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("how", ["not contiguous", "big-endian", "float16", "float64"])
def test_a_model_of_unusual_arrays_is_used_trained_and_saved_unchanged(mini, how, tmp_path):
    params = {name: strange(array, how) for name, array in mini.params.items()}
    before = {name: array.copy() for name, array in params.items()}
    gpt = numpygpt.GPT(mini.config, params, mini.encoding, "mini")
    loose = 0.1 if how == "float16" else 1e-4
    np.testing.assert_allclose(gpt.logits("See you"), mini.logits("See you"), atol=loose, rtol=loose)
    ours, expected = (numpygpt.Classifier(model, ["ham", "spam"], "all") for model in (gpt, mini))
    assert ours.loss(TEXTS, LABELS)[0] == pytest.approx(expected.loss(TEXTS, LABELS)[0], rel=loose)
    numpygpt.fine_tune(ours, list(zip(TEXTS, LABELS)), [("you", "ham")], epochs=1, batch_size=2)
    ours.save(tmp_path / "run")
    saved = numpygpt.load_run(tmp_path / "run")
    np.testing.assert_allclose(saved.logits(TEXTS), ours.logits(TEXTS), rtol=loose, atol=loose)
    ours.predict(TEXTS), ours.explain(TEXTS[0]), gpt.features(TEXTS), gpt.generate("Hi", tokens=2)
    for name, array in params.items():
        assert np.array_equal(array, before[name]), name


def test_parameters_that_are_not_real_floats_are_refused(mini):
    params = mini.params | {"ln_f.bias": mini.params["ln_f.bias"] + 0j}
    with pytest.raises(numpygpt.InputError, match="ln_f.bias has dtype complex64: expected real floats"):
        numpygpt.GPT(mini.config, params, mini.encoding, "mini")


def test_clip_norm_scales_in_place_and_refuses_read_only_arrays():
    grads = {"w": np.full(4, 2.0)}
    clip_norm(grads, 1.0)
    np.testing.assert_allclose(grads["w"], 0.5)
    grads["w"].flags.writeable = False
    grads = {"a": np.full(2, 3.0)} | grads
    with pytest.raises(numpygpt.InputError, match="clip_norm: the gradient of w is read-only"):
        clip_norm(grads, 0.1)
    assert (grads["a"] == 3).all()  # refused before any change
