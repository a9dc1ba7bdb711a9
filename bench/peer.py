"""GPT-2 in PyTorch, in its best ordinary form: what numpygpt is measured against.

Fused query, key and value; PyTorch's fused causal attention and tanh GELU; its fused AdamW. Frozen
parameters have requires_grad False, so autograd keeps nothing for them and stops above them. Modules are
nested so that parameters have GPT-2's own names.

`frozen_rows` and `classify_above` are numpygpt's shortcuts: the frozen blocks once for each message, and the last block
for the one row that is read.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        D = config.n_embd
        self.n_head = config.n_head
        self.ln_1, self.ln_2 = (nn.LayerNorm(D, config.layer_norm_epsilon) for _ in range(2))
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(D, 3 * D), "c_proj": nn.Linear(D, D)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(D, 4 * D), "c_proj": nn.Linear(4 * D, D)})

    def forward(self, x):
        B, T, D = x.shape
        qkv = self.attn["c_attn"](self.ln_1(x))  # (B, T, 3D)
        q, k, v = qkv.view(B, T, 3, self.n_head, D // self.n_head).permute(2, 0, 3, 1, 4)  # (B, H, T, d) each
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn["c_proj"](a.transpose(1, 2).reshape(B, T, D))
        return self.fed(x)

    def fed(self, x):
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))

    def at(self, x, last):
        """The block at row last[b] of each message alone, which sees all rows up to it: x (B, T, D) -> (B, D).

        Keys and values are folded into the one query, as in numpygpt's query_attention.
        """
        B, T, D = x.shape
        d = D // self.n_head
        here = torch.arange(B), last
        normed = self.ln_1(x)
        Wq, Wk, Wv = self.attn["c_attn"].weight.chunk(3)  # [out, in]
        bq, _, bv = self.attn["c_attn"].bias.chunk(3)
        q = F.linear(normed[here], Wq, bq).view(B, self.n_head, d).transpose(0, 1)  # (H, B, d)
        r = (q @ Wk.view(self.n_head, d, D)).transpose(0, 1)  # (B, H, D)
        scores = r @ normed.transpose(1, 2) / d**0.5  # (B, H, T)
        unseen = torch.arange(T) > last[:, None]
        weights = scores.masked_fill(unseen[:, None], float("-inf")).softmax(-1)
        z = (weights @ normed).transpose(0, 1)  # (H, B, D)
        y = (z @ Wv.view(self.n_head, d, D).transpose(1, 2)).transpose(0, 1).reshape(B, D) + bv
        return self.fed(x[here] + self.attn["c_proj"](y))


class GPT2(nn.Module):
    """Token ids (B, T) -> rows (B, T, D). `head`, where it is set, is the classifier's linear layer."""

    def __init__(self, config):
        super().__init__()
        D = config.n_embd
        self.wte, self.wpe = nn.Embedding(config.vocab_size, D), nn.Embedding(config.n_positions, D)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(D, config.layer_norm_epsilon)
        self.head = None

    def blocks(self, ids, depth):
        """What the lowest `depth` blocks make of the ids."""
        return self.embedded_blocks(self.wte(ids) + self.wpe.weight[: ids.shape[1]], 0, depth)

    def embedded_blocks(self, x, start, end):
        for block in self.h[start:end]:
            x = block(x)
        return x

    def classify_above(self, x, last, depth):
        """logits (B, C), read at row last[b] of each message, from the rows x (B, T, D) that enter block `depth`; the
        last block runs for that row alone. What stands after it is padding, and changes nothing."""
        if depth < len(self.h):
            row = self.h[-1].at(self.embedded_blocks(x, depth, len(self.h) - 1), last)
        else:
            row = x[torch.arange(len(x)), last]
        return self.head(self.ln_f(row))

    def forward(self, ids):
        return self.ln_f(self.blocks(ids, len(self.h)))

    def classify(self, ids):
        """logits (B, C), read at the last position, as in the book."""
        return self.head(self(ids))[:, -1]

    def language_loss(self, ids, targets):
        """The mean cross-entropy of predicting targets (B, T), through the tied output layer."""
        return F.cross_entropy(F.linear(self(ids), self.wte.weight).flatten(0, 1), targets.flatten())


@torch.no_grad()
def frozen_rows(model, messages, depth, at_once):
    """[(T, D) rows of each message after the lowest `depth` blocks], of 1-dimensional tensors of ids: messages of
    about one length together, `at_once` tokens at a time, the shorter ones padded at their end, where nothing sees it.
    """
    rows, order = [None] * len(messages), sorted(range(len(messages)), key=lambda i: len(messages[i]))
    while order:
        count = max(1, at_once // len(messages[order[-1]]))
        batch, order = order[-count:], order[:-count]
        ids = pad_sequence([messages[i] for i in batch], batch_first=True)
        for i, made in zip(batch, model.blocks(ids, depth)):
            rows[i] = made[: len(messages[i])].clone()
    return rows


def load(config, params):
    """A GPT2 with numpygpt's parameters, copied. Where they include a head, it gets one."""
    with torch.device("meta"):  # no memory, no initial values
        model = GPT2(config)
        if "head.weight" in params:
            model.head = nn.Linear(*params["head.weight"].shape)
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    arrays = {name: array.T if name in linear else array for name, array in params.items()}  # PyTorch's are [out, in]
    model.load_state_dict(
        {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}, assign=True
    )
    return model


def freeze(model, trainable):
    """Let only the parameters of these names learn; they are returned."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trainable)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def adamw(parameters):
    """AdamW with the book's learning rate and weight decay."""
    return torch.optim.AdamW(parameters, lr=5e-5, weight_decay=0.1, fused=True)


def train_step(loss, optimizer):
    """Backward and update; returns the loss as a number."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
