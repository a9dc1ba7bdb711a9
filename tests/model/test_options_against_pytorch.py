"""Every choice that `train` offers: its loss, gradients and updates equal PyTorch's autograd and torch.optim.AdamW.

The oracle is GPT-2 written with torch functions. It runs one message at a time, without frozen prefix or folded last
block, and has LoRA as a second path beside each layer instead of a change of its weight.
"""

import numpy as np
import pytest

from numpygpt.model.config import Config
from numpygpt.model.lora import adapters
from numpygpt.model.parameters import parameter_shapes, random_parameters
from numpygpt.model.trainable import CHOICES
from numpygpt.system.errors import InputError
from numpygpt.system.single_process import SingleProcess
from numpygpt.training.fine_tune import fine_tune
from numpygpt.training.rng import Generator, linear_init
from tests.classifiers import classifier_of, loader_of, logits_of, loss_of

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # a second thread slows down tensors this small
F = torch.nn.functional

CONFIG = Config(vocab_size=13, n_positions=11, n_embd=12, n_layer=3, n_head=2)
CLASSES, PAD = 3, 12


@pytest.fixture
def params():
    """Return float64 parameters, with a head, none of which is 0 or 1."""
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(CONFIG) | {"head.weight": (CONFIG.n_embd, CLASSES), "head.bias": (CLASSES,)}
    return {
        name: 0.4 * rng.standard_normal(shape) + (".ln_" in f".{name}" and name.endswith("weight"))
        for name, shape in shapes.items()
    }


@pytest.fixture
def lora_params(params):
    """Return parameters with adapters of rank 4 whose B is no longer zero, as after some training."""
    rng = np.random.default_rng(1)
    new = adapters(params, CONFIG, 4, Generator(1))
    return params | {name: 0.3 * rng.standard_normal(array.shape) for name, array in new.items()}


def messages_of(lengths, padded_to=0):
    rng = np.random.default_rng(2)
    return [np.array([*rng.integers(0, PAD, T), *[PAD] * (padded_to - T)], np.int32) for T in lengths]


MESSAGES = messages_of((5, 1, 11, 5, 8))
LABELS = np.array([0, 2, 1, 0, 2])


def make_task(params, choice, position="last", causal=True, **settings):
    """Make the task as train does, with the deepest frozen prefix that the choice allows."""
    return classifier_of(params, CONFIG, choice, position=position, causal=causal, **settings)


def torch_params(params, trainable):
    return {name: torch.tensor(array, requires_grad=name in trainable) for name, array in params.items()}


def torch_logits(p, messages, position="last", causal=True, scale=None):
    """Return logits (B, C) from tensors {name: tensor}. scale is LoRA's alpha / rank."""

    def added(name, x):
        return scale * (x @ p[f"{name}.lora_A"] @ p[f"{name}.lora_B"]) if scale else 0

    def layer(name, x):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"] + added(name, x)

    def norm(name, x):
        return F.layer_norm(x, (CONFIG.n_embd,), p[f"{name}.weight"], p[f"{name}.bias"], CONFIG.layer_norm_epsilon)

    def logits(ids):
        x = p["wte.weight"][torch.tensor(ids).long()] + p["wpe.weight"][: len(ids)]
        for n in range(CONFIG.n_layer):
            attn = f"h.{n}.attn.c_attn"
            a = norm(f"h.{n}.ln_1", x)
            qkv = (a @ p[f"{attn}.weight"] + p[f"{attn}.bias"]).split(CONFIG.n_embd, dim=1)
            qkv = [one + added(f"{attn}.{part}", a) for part, one in zip(("query", "key", "value"), qkv)]
            q, k, v = (one.view(len(ids), CONFIG.n_head, -1).transpose(0, 1) for one in qkv)
            a = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + layer(f"h.{n}.attn.c_proj", a.transpose(0, 1).reshape(x.shape))
            m = F.gelu(layer(f"h.{n}.mlp.c_fc", norm(f"h.{n}.ln_2", x)), approximate="tanh")
            x = x + layer(f"h.{n}.mlp.c_proj", m)
        every = layer("head", norm("ln_f", x))  # (T, C)
        return every.mean(dim=0) if position == "mean" else every[-1 if position == "last" else 0]

    return torch.stack([logits(ids) for ids in messages])


def check(task, messages=MESSAGES, labels=LABELS, bound=1e-12, found=None, **loss_options):
    """Compare the task's loss and gradients, or those in `found`, with PyTorch's, relative to each largest entry."""
    loss, grads = found or loss_of(task, messages, labels)
    p = torch_params(task.params, task.trainable)
    expected = F.cross_entropy(
        torch_logits(p, messages, task.pooling.position, task.pooling.causal, task.lora_scale),
        torch.tensor(labels),
        **loss_options,
    )
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=bound)
    assert grads.keys() == task.trainable
    for name, gradient in grads.items():
        right = p[name].grad.numpy()
        if name.endswith("c_attn.bias"):  # the key's bias has no gradient, only rounding
            gradient, right = (np.delete(g, np.s_[CONFIG.n_embd : 2 * CONFIG.n_embd]) for g in (gradient, right))
        assert np.abs(gradient - right).max() <= bound * np.abs(right).max(), name


@pytest.mark.parametrize(
    "choice", [choice for choice in CHOICES if choice != "lora"] + ["h.1.mlp.*", "h.0.ln_1.bias,head", "ln_f.*"]
)
def test_trainable_parameters_get_autograds_gradients(params, choice):
    check(make_task(params, choice))


@pytest.mark.parametrize("choice", ["head", "last_block", "all"])
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "no-causal"])
@pytest.mark.parametrize("position", ["last", "first", "mean"])
def test_every_pooling_position_gives_autograds_gradients(params, position, causal, choice):
    check(make_task(params, choice, position=position, causal=causal))


@pytest.mark.parametrize("position", ["last", "first", "mean"])
def test_padding_counts_in_the_mean_like_other_tokens(params, position):
    messages = messages_of((5, 1, 11, 5, 8), padded_to=11)
    check(make_task(params, "last_block", position=position), messages)


def test_without_padding_the_last_token_of_the_message_is_read(params):
    lengths = (5, 1, 9, 5, 8)
    p = torch_params(params, ())
    padded = messages_of(lengths, padded_to=11)
    flexible = torch.stack([torch_logits(p, [ids[:T]])[0] for ids, T in zip(padded, lengths)])
    ours = logits_of(make_task(params, "head"), messages_of(lengths))
    np.testing.assert_allclose(ours, flexible.numpy(), rtol=1e-12)


@pytest.mark.parametrize("position, causal", [("last", True), ("first", False), ("mean", True)])
def test_lora_gets_autograds_gradients(lora_params, position, causal):
    task = make_task(lora_params, "lora", position=position, causal=causal, lora_scale=16 / 4)
    assert task.trainable == {name for name in lora_params if ".lora_" in name}, "the base is frozen, also the head's"
    check(task)


def test_lora_gets_autograds_gradients_beside_a_trainable_base(lora_params):
    check(make_task(lora_params, "lora,last_block", lora_scale=0.5))


def test_lora_starts_with_pytorchs_random_values(params):
    """Appendix E draws nn.Linear first, then each A (in, rank) by kaiming_uniform_, block by block, the head last."""
    rank, D = 5, CONFIG.n_embd
    generator = Generator(123)
    params["head.weight"], params["head.bias"] = linear_init(generator, D, CLASSES)
    ours = adapters(params, CONFIG, rank, generator)
    torch.manual_seed(123)
    head = torch.nn.Linear(D, CLASSES)
    np.testing.assert_array_equal(params["head.weight"], head.weight.detach().numpy().T)
    layers = ("attn.c_attn.query", "attn.c_attn.key", "attn.c_attn.value", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    for name in [f"h.{n}.{layer}" for n in range(CONFIG.n_layer) for layer in layers] + ["head"]:
        A = torch.empty(4 * D if name.endswith("mlp.c_proj") else D, rank)
        torch.nn.init.kaiming_uniform_(A, a=5**0.5)
        np.testing.assert_allclose(ours[f"{name}.lora_A"], A.numpy(), atol=1e-7, err_msg=name)
        assert not ours[f"{name}.lora_B"].any(), "training starts from the unchanged model"


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("ignored", [0, 2])
def test_messages_of_the_ignored_label_are_excluded_from_loss_and_mean(params, ignored, smoothing):
    found = first_gradient(params, "last_two_blocks", ignored, smoothing)
    check(make_task(params, "last_two_blocks"), found=found, ignore_index=ignored, label_smoothing=smoothing)


def test_an_ignore_index_no_label_has_changes_nothing(params):
    loss, grads = first_gradient(params, "last_block", 50256)
    same_loss, same_grads = first_gradient(params, "last_block", None)
    assert loss == same_loss
    assert all(np.array_equal(grads[name], same_grads[name]) for name in same_grads)


def first_gradient(params, choice, ignored, smoothing=0.0):
    """Return (loss, grads) of fine_tune's first batch, which has all messages."""

    class Watched(SingleProcess):
        def gradient(self, *arguments):
            loss, grads = super().gradient(*arguments)
            self.found = loss, {name: gradient.copy() for name, gradient in grads.items()}
            return loss, grads

    clf = make_task({name: array.copy() for name, array in params.items()}, choice)
    batches = [loader_of(clf, MESSAGES, LABELS, len(LABELS), Generator(1)) for _ in range(2)]
    watched = Watched()
    fine_tune(clf, *batches, epochs=1, ignore_index=ignored, label_smoothing=smoothing, ranks=watched)
    return watched.found


def test_a_batch_of_only_ignored_messages_makes_no_update_and_enters_no_mean(params):
    clf = make_task({name: array.copy() for name, array in params.items()}, "head")
    before = clf.params["head.weight"].copy()
    training, validation = (
        loader_of(clf, MESSAGES[:3], LABELS[:3], 1, Generator(1), shuffle) for shuffle in (True, False)
    )
    rows = []
    fine_tune(clf, training, validation, epochs=1, lr=1e-2, eval_every=1, ignore_index=0, report=rows.append)
    steps, alone = rows[:-1], [row for row in rows[:-1] if "loss" not in row]
    assert len(steps) == 3 and len(alone) == 1
    assert not np.array_equal(clf.params["head.weight"], before)
    counted = [loss_of(clf, [MESSAGES[i]], [LABELS[i]])[0] for i in (1, 2)]
    assert steps[-1]["validation_loss"] == pytest.approx(np.mean(counted))


def test_a_set_of_only_ignored_messages_is_refused_before_training(params):
    clf = make_task(params, "head")
    training, validation = (loader_of(clf, MESSAGES[::3], LABELS[::3], 1, Generator(1)) for _ in range(2))
    with pytest.raises(InputError, match="every message of a set has the ignored label 0"):
        fine_tune(clf, training, validation, epochs=1, ignore_index=0)


@pytest.mark.parametrize("choice, accumulate", [("last_block", 1), ("last_block", 3), ("all", 2), ("lora", 3)])
def test_parameters_after_two_accumulated_epochs_equal_torch_adamws(lora_params, choice, accumulate):
    """Train on five messages one at a time: an update follows every k-th and the epoch's last, each divided by k."""
    params = (
        lora_params
        if choice == "lora"
        else {name: array for name, array in lora_params.items() if ".lora_" not in name}
    )
    scale = 2.0 if choice == "lora" else None
    task = make_task({name: array.copy() for name, array in params.items()}, choice, lora_scale=scale)
    generator, losses = Generator(7), []
    loaders = (loader_of(task, MESSAGES, LABELS, 1, generator, shuffle) for shuffle in (True, False))
    fine_tune(
        task,
        *loaders,
        epochs=2,
        lr=1e-2,
        schedule="constant",
        label_smoothing=0.2,
        weight_decay=0.1,
        accumulate=accumulate,
        eval_every=10**6,
        eval_batches=1,
        report=lambda row: losses.append(row.get("loss")),
    )

    p = torch_params(params, task.trainable)
    optimizer = torch.optim.AdamW([p[name] for name in sorted(task.trainable)], lr=1e-2, weight_decay=0.1)
    torch.manual_seed(7)
    dataset = [(i, LABELS[i]) for i in range(5)]
    training, validation = (torch.utils.data.DataLoader(dataset, 1, shuffle=shuffle) for shuffle in (True, False))
    expected = []
    for _ in range(2):
        for number, (i, label) in enumerate(training, start=1):
            loss = F.cross_entropy(torch_logits(p, [MESSAGES[i]], scale=scale), label, label_smoothing=0.2)
            (loss / accumulate).backward()
            if number % accumulate == 0 or number == len(training):
                optimizer.step()
                optimizer.zero_grad()
            expected.append(loss.item())
            if expected[1:] == []:
                next(iter(training)), next(iter(validation))  # step 0 evaluates
        next(iter(training)), next(iter(validation))
        expected.append(None)
    assert losses == [loss and pytest.approx(loss, rel=1e-9) for loss in expected]
    for name in task.trainable:
        ours, right = task.params[name], p[name].detach().numpy()
        if name.endswith("c_attn.bias"):  # Adam turns the key bias' rounding errors into steps
            ours, right = (np.delete(a, np.s_[CONFIG.n_embd : 2 * CONFIG.n_embd]) for a in (ours, right))
        np.testing.assert_allclose(ours, right, rtol=1e-7, atol=1e-7, err_msg=name)
    frozen = params.keys() - task.trainable
    assert all(np.array_equal(task.params[name], params[name]) for name in frozen)


def test_pytorch_initialisation_has_the_distribution_of_torchs_layers():
    D = 96
    ours = random_parameters(Config(vocab_size=200, n_positions=100, n_embd=D, n_layer=1, n_head=4), 123, "pytorch")
    torch.manual_seed(123)
    layers = {
        "wte": torch.nn.Embedding(200, D),
        "wpe": torch.nn.Embedding(100, D),
        "h.0.ln_1": torch.nn.LayerNorm(D),
        "h.0.attn.c_attn": torch.nn.Linear(D, 3 * D),
        "h.0.attn.c_proj": torch.nn.Linear(D, D),
        "h.0.mlp.c_fc": torch.nn.Linear(D, 4 * D),
        "h.0.mlp.c_proj": torch.nn.Linear(4 * D, D),
    }
    for name, layer in layers.items():
        for kind, tensor in layer.named_parameters():
            one, other = ours[f"{name}.{kind}"], tensor.detach().numpy()
            for measure in (np.std, np.max, np.min):  # together they distinguish uniform from normal, and the widths
                assert measure(one) == pytest.approx(measure(other), rel=0.2), f"{measure.__name__} of {name}.{kind}"
