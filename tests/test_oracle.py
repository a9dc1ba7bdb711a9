"""Whole models give transformers' logits at every position and PyTorch's gradients of every trainable parameter.

The tests always run with a tiny model. For 124M: python -m pytest -m oracle_124m
"""

from itertools import product

import numpy as np
import pytest

from numpygpt.checkpoints.load import load_weights
from numpygpt.model.language import language_logits
from numpygpt.model.tape import Tape
from numpygpt.system.settings import POSITIONS
from numpygpt.text.batches import pack
from tests.classifiers import classifier_of, loss_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WAYS = list(product(POSITIONS, ("longest", "none", "end")))  # (position, padding)
CLASSES = 3


class Oracle:
    """A random GPT-2 in float32 with filled biases and layernorms, and PyTorch's results on unequal messages.

    config, params   as numpygpt reads them from the folder that transformers saves
    """

    def __init__(self, settings, lengths, folder, seed=0):
        torch.manual_seed(seed)
        self.model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings)).eval()
        self.head = torch.nn.Linear(self.model.config.n_embd, CLASSES)
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.dim() == 1:
                    parameter += 0.2 * torch.randn(parameter.shape)
        self.model.save_pretrained(folder)
        self.config, self.params = load_weights(folder)
        self.params |= {
            "head.weight": self.head.weight.detach().numpy().T,
            "head.bias": self.head.bias.detach().numpy(),
        }
        self.named = {name.removeprefix("transformer."): p for name, p in self.model.named_parameters()}
        rng, pad = np.random.default_rng(seed), self.config.vocab_size - 1
        self.messages = [rng.integers(0, pad, T).astype(np.int32) for T in lengths]
        self.labels = rng.integers(0, CLASSES, len(lengths))
        self.ended = [np.append(ids, np.int32(pad)) for ids in self.messages]
        self.padded = [np.append(ids, np.full(max(lengths) + 1 - len(ids), pad, np.int32)) for ids in self.messages]
        # A causal mask hides the padding after a message, so one forward pass serves every padding.
        self.hidden = self.model.transformer(torch.tensor(np.stack(self.padded)).long()).last_hidden_state

    def language_logits(self):
        """Return the logits (T, V) of each message."""
        with torch.no_grad():
            return [self.model.lm_head(rows[: len(ids)]).numpy() for rows, ids in zip(self.hidden, self.messages)]

    def loss_and_gradients(self, position, padding):
        """Return the classifier's loss and {name: gradient} of all its parameters."""
        pool = {"last": lambda rows: rows[-1], "first": lambda rows: rows[0], "mean": lambda rows: rows.mean(dim=0)}[
            position
        ]
        ends = [{"none": len(ids), "end": len(ids) + 1}.get(padding) for ids in self.messages]
        pooled = torch.stack([pool(rows[:end]) for rows, end in zip(self.hidden, ends)])
        loss = torch.nn.functional.cross_entropy(self.head(pooled), torch.tensor(self.labels))
        wanted = self.named | {"head.weight": self.head.weight, "head.bias": self.head.bias}
        gradients = torch.autograd.grad(loss, list(wanted.values()), retain_graph=True)
        grads = {name: gradient.numpy() for name, gradient in zip(wanted, gradients)}
        grads["head.weight"] = grads["head.weight"].T
        return loss.item(), grads


def our_language_logits(oracle):
    """Return the logits (T, V) of each message, from one packed batch."""
    ids, lengths = pack(oracle.messages)
    return np.split(language_logits(Tape(oracle.params), ids, lengths, oracle.config), np.cumsum(lengths)[:-1])


def our_loss_and_gradients(oracle, choice, position, padding):
    """Return the loss and {name: gradient} of the trainable parameters, computed as in training."""
    clf = classifier_of(oracle.params, oracle.config, choice, position=position)
    messages = {"none": oracle.messages, "end": oracle.ended, "longest": oracle.padded}[padding]
    loss, grads = loss_of(clf, messages, oracle.labels)
    assert grads.keys() == clf.trainable
    return loss, grads


def errors(ours, theirs):
    """Return {name: max |ours - theirs| / max |theirs|}.

    The key's third of a c_attn.bias is excluded: softmax ignores a constant added to all scores of a row,
    so its gradient is zero, and PyTorch's is rounding noise.
    """
    found = {}
    for name in ours:
        a, b = ours[name], theirs[name]
        if name.endswith("c_attn.bias"):
            a, b = (np.delete(g, np.s_[len(g) // 3 : 2 * len(g) // 3]) for g in (a, b))
        found[name] = float(np.abs(a - b).max() / np.abs(b).max())
    return found


TINY = dict(vocab_size=101, n_positions=32, n_embd=24, n_layer=3, n_head=4)
GPT2_124M = {}  # transformers' defaults


@pytest.fixture(
    scope="module",
    params=[pytest.param(TINY, id="tiny"), pytest.param(GPT2_124M, id="124M", marks=pytest.mark.oracle_124m)],
)
def oracle(request, tmp_path_factory):
    return Oracle(request.param, (24, 7, 1, 31), tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def classified(request, oracle):
    """Return (position, padding, PyTorch's loss, its gradients)."""
    return *request.param, *oracle.loss_and_gradients(*request.param)


def test_the_trunks_logits_equal_transformers_at_every_position(oracle):
    for ours, theirs in zip(our_language_logits(oracle), oracle.language_logits()):
        assert ours.shape == theirs.shape and ours.dtype == np.float32
        assert np.abs(ours - theirs).max() <= 1e-4


@pytest.mark.parametrize("choice", ["head", "last_block", "last_two_blocks", "all"])
def test_every_trainable_parameters_gradient_equals_autograds(oracle, classified, choice):
    position, padding, loss, theirs = classified
    our_loss, ours = our_loss_and_gradients(oracle, choice, position, padding)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    found = errors(ours, theirs)
    assert max(found.values()) <= 1e-4, max(found.items(), key=lambda item: item[1])
