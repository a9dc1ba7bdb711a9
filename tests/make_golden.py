"""python -m tests.make_golden: write golden.npz, PyTorch's float64 results
for a tiny GPT-2, for test_golden.py.

Made with torch 2.13 and transformers 5.23. The tests that read golden.npz need neither.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

CONFIG = dict(vocab_size=13, n_positions=8, n_embd=6, n_layer=3, n_head=2)  # numpygpt's Config
CLASSES = 5
RECIPE = dict(lr=0.01, weight_decay=0.1)
TRAINED = ("transformer.h.2.", "transformer.ln_f.", "head.")  # the book's choice


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        gpt2 = (
            transformers.GPT2LMHeadModel(transformers.GPT2Config(**CONFIG, bos_token_id=None, eos_token_id=None))
            .eval()
            .double()
        )
        self.transformer, self.lm_head = gpt2.transformer, gpt2.lm_head
        self.head = torch.nn.Linear(CONFIG["n_embd"], CLASSES).double()

    def rows(self, ids):
        return self.transformer(torch.tensor(ids)[None]).last_hidden_state[0]

    def forward(self, messages):
        return self.head(torch.stack([self.rows(ids)[-1] for ids in messages]))


def ours(name, tensor):
    """Return (numpygpt's name, array). The head is stored [in, out], like GPT-2's own layers."""
    array = tensor.detach().numpy().copy()
    return name.removeprefix("transformer."), np.ascontiguousarray(array.T) if name == "head.weight" else array


def main():
    rng = np.random.default_rng(0)
    model = Classifier()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = ".ln_" in name and name.endswith("weight")
            parameter.copy_(torch.tensor(gain + 0.5 * rng.standard_normal(parameter.shape)))
    lengths, labels = np.array([4, 1, 8, 3]), rng.integers(0, CLASSES, 4)
    ids = rng.integers(0, CONFIG["vocab_size"], lengths.sum())
    messages = np.split(ids, np.cumsum(lengths)[:-1])
    golden = dict(ids=ids, lengths=lengths, labels=labels)
    named = dict(model.named_parameters())  # without lm_head.weight, which is tied to wte's
    golden |= {f"params/{key}": array for key, array in (ours(*item) for item in named.items())}

    with torch.no_grad():
        golden["language_logits"] = torch.cat([model.lm_head(model.rows(ids)) for ids in messages]).numpy()
    logits = model(messages)
    golden["logits"] = logits.detach().numpy()
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    for name, gradient in zip(named, torch.autograd.grad(loss, list(named.values()))):
        key, array = ours(name, gradient)
        golden[f"grads/{key}"] = array

    trained = [parameter for name, parameter in named.items() if name.startswith(TRAINED)]
    optimizer = torch.optim.AdamW(trained, **RECIPE)
    losses = []
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(model(messages), torch.tensor(labels))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    golden["losses"] = np.array(losses)
    np.savez_compressed(Path(__file__).with_name("golden.npz"), **golden)


if __name__ == "__main__":
    main()
