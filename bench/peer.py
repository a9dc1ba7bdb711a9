"""GPT-2 in PyTorch, in its best ordinary form: what numpygpt is measured against.

Fused query, key and value; PyTorch's fused causal attention and tanh GELU; its fused AdamW. Frozen
parameters have requires_grad False, so autograd keeps nothing for them and stops above them. Modules are
nested so that parameters have GPT-2's own names.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


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
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


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
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h[:depth]:
            x = block(x)
        return x

    def forward(self, ids):
        return self.ln_f(self.blocks(ids, len(self.h)))

    def classify(self, ids):
        """logits (B, C), read at the last position, as in the book."""
        return self.head(self(ids))[:, -1]

    def language_loss(self, ids, targets):
        """The mean cross-entropy of predicting targets (B, T), through the tied output layer."""
        return F.cross_entropy(F.linear(self(ids), self.wte.weight).flatten(0, 1), targets.flatten())


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
