"""GPT-2 in PyTorch in its fastest ordinary form, with which numpygpt is compared.

It has fused query, key and value, and PyTorch's fused causal attention, tanh GELU and fused AdamW. Frozen
parameters have requires_grad False, so autograd keeps no activations for them and stops above them. Modules
are nested so that parameters have GPT-2's own names.

`frozen_rows` and `classify_above` are numpygpt's shortcuts: the frozen blocks run once for each message, and the last
block only for the pooled row.
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
        """Run the block only for row last[b] of each message, which attends to all rows before: x (B, T, D) -> (B, D).

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
    """Token ids (B, T) -> rows (B, T, D). `head`, if set, is the classifier's linear layer."""

    def __init__(self, config):
        super().__init__()
        D = config.n_embd
        self.wte, self.wpe = nn.Embedding(config.vocab_size, D), nn.Embedding(config.n_positions, D)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(D, config.layer_norm_epsilon)
        self.head = None

    def blocks(self, ids, depth):
        """Return the rows of the ids after the lowest `depth` blocks."""
        return self.embedded_blocks(self.wte(ids) + self.wpe.weight[: ids.shape[1]], 0, depth)

    def embedded_blocks(self, x, start, end):
        for block in self.h[start:end]:
            x = block(x)
        return x

    def classify_above(self, x, last, depth):
        """Return logits (B, C) at row last[b] of each message, from the rows x (B, T, D) that enter block `depth`.

        The last block runs only for that row. The padding after it has no effect.
        """
        if depth < len(self.h):
            row = self.h[-1].at(self.embedded_blocks(x, depth, len(self.h) - 1), last)
        else:
            row = x[torch.arange(len(x)), last]
        return self.head(self.ln_f(row))

    def classify_mean_above(self, x, lengths, depth):
        """Return logits (B, C) from the mean of each message's own rows, of the rows x (B, T, D) of block `depth`.

        Attention is causal, so the padding after a message changes none of its rows: only the mean needs the mask.
        """
        rows = self.ln_f(self.embedded_blocks(x, depth, len(self.h)))
        own = (torch.arange(x.shape[1]) < lengths[:, None]).to(rows.dtype)  # (B, T)
        return self.head((own[:, None] @ rows)[:, 0] / lengths[:, None])

    def forward(self, ids):
        return self.ln_f(self.blocks(ids, len(self.h)))

    def classify(self, ids):
        """Return logits (B, C) at the last position, as in the book."""
        return self.head(self(ids))[:, -1]

    def language_loss(self, ids, targets):
        """Return the mean cross-entropy of predicting targets (B, T) with the tied output layer."""
        return F.cross_entropy(F.linear(self(ids), self.wte.weight).flatten(0, 1), targets.flatten())


def batches_by_length(messages, at_once):
    """Yield the places of messages of similar length, with padding at most `at_once` tokens. The longest come first."""
    order = sorted(range(len(messages)), key=lambda i: len(messages[i]))
    while order:
        count = max(1, at_once // len(messages[order[-1]]))
        yield order[-count:]
        order = order[:-count]


@torch.no_grad()
def frozen_rows(model, messages, depth, at_once):
    """Return [rows (T, D) of each message after the lowest `depth` blocks] for 1-dimensional tensors of ids.

    Messages of similar length run together, `at_once` tokens at a time. Causal attention ignores padding at their end.
    """
    rows = [None] * len(messages)
    for batch in batches_by_length(messages, at_once):
        ids = pad_sequence([messages[i] for i in batch], batch_first=True)
        for i, made in zip(batch, model.blocks(ids, depth)):
            rows[i] = made[: len(messages[i])].clone()
    return rows


def load(config, params):
    """Return a GPT2 with copies of numpygpt's parameters, and with a head if they have one."""
    with torch.device("meta"):  # neither memory nor initial values
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
    """Make only the parameters of these names trainable, and return them."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trainable)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def adamw(parameters, **settings):
    """Return AdamW with the book's learning rate and weight decay, and other settings."""
    return torch.optim.AdamW(parameters, **dict(lr=5e-5, weight_decay=0.1, fused=True) | settings)


def train_step(loss, optimizer):
    """Run backward and update. Return the loss as a number."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
