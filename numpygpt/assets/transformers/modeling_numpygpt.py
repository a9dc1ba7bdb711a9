"""GPT-2 as a text classifier, for transformers: it gives the logits of numpygpt, which trained and exported it.

The classifier reads messages as in its training. config.json says how:
    position   the row of a message that the head reads: "mean" of all rows, "last" or "first"
    causal     whether a token attends only to itself and earlier tokens
    padding    null, "end" for one end token after each message, or a number of tokens to cut and pad to
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class NumpygptConfig(PretrainedConfig):
    model_type = "numpygpt"
    attribute_map = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}


class Linear(nn.Module):
    """A linear layer with GPT-2's layout of the weight, [in, out]."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(inputs, outputs)), nn.Parameter(torch.empty(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        D, self.heads = config.n_embd, config.n_head
        self.ln_1, self.ln_2 = (nn.LayerNorm(D, eps=config.layer_norm_epsilon) for _ in range(2))
        self.attn = nn.ModuleDict({"c_attn": Linear(D, 3 * D), "c_proj": Linear(D, D)})
        self.mlp = nn.ModuleDict({"c_fc": Linear(D, 4 * D), "c_proj": Linear(4 * D, D)})

    def forward(self, x, allowed):
        B, T, D = x.shape
        rows = self.attn["c_attn"](self.ln_1(x)).view(B, T, 3, self.heads, D // self.heads)
        query, key, value = rows.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        x = x + self.attn["c_proj"](mixed.transpose(1, 2).reshape(B, T, D))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, ids, allowed):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.h:
            x = block(x, allowed)
        return self.ln_f(x)


class NumpygptForSequenceClassification(PreTrainedModel):
    config_class = NumpygptConfig
    base_model_prefix = "transformer"

    def __init__(self, config):
        super().__init__(config)
        self.transformer = Transformer(config)
        self.score = nn.Linear(config.n_embd, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        """Leave the parameters: all of them are in model.safetensors."""

    def forward(self, input_ids, attention_mask=None, labels=None, **_):
        ids, lengths = self.messages(input_ids, attention_mask)
        places = torch.arange(ids.shape[1], device=ids.device)
        own = places < lengths[:, None]  # (B, T)
        allowed = own[:, None, None, :]
        if self.config.causal:
            allowed = allowed & (places <= places[:, None])
        rows = self.transformer(ids, allowed)
        if self.config.position == "mean":
            rows = (rows * own[..., None]).sum(1) / lengths[:, None]
        elif self.config.position == "last":
            rows = rows[torch.arange(len(rows), device=rows.device), lengths - 1]
        else:
            rows = rows[:, 0]
        logits = self.score(rows)
        loss = None if labels is None else F.cross_entropy(logits, labels.view(-1))
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def messages(self, ids, mask):
        """Return (ids (B, T), lengths (B,)) of the messages, cut and padded as in training."""
        mask = torch.ones_like(ids) if mask is None else mask
        order = torch.argsort(mask, dim=1, descending=True, stable=True)  # padding on the left moves to the right
        ids, lengths = ids.gather(1, order), mask.sum(1)
        if not lengths.all():
            raise ValueError("a text has no tokens, so there is nothing to classify")
        padding, end = self.config.padding, self.config.eos_token_id
        most = {None: self.config.n_positions, "end": self.config.n_positions - 1}.get(padding, padding)
        ids, lengths = ids[:, :most], lengths.clamp(max=most)
        added = {None: 0, "end": 1}.get(padding, most - ids.shape[1])
        ids = F.pad(ids, (0, added), value=end)
        ids = ids.where(torch.arange(ids.shape[1], device=ids.device) < lengths[:, None], end)
        return ids, lengths if padding is None else lengths + 1 if padding == "end" else torch.full_like(lengths, most)
