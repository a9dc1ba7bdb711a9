"""Greedy generation with a cache of keys and values:
100 tokens after a prompt of 20, compared with transformers' `generate`.

The limit: every token reads all weights except the position embeddings once, at the measured rate of memory reads.
"""

from itertools import islice

import numpy as np

from numpygpt.checkpoints.load import load_weights
from numpygpt.model.continuation import continuation

from .machine import Rates, installed
from .results import Row, Section
from .turns import in_turns

REPETITIONS = 5
PROMPT, TOKENS = 20, 100


def measure(options):
    config, params = load_weights(options.model)
    prompt = np.random.default_rng(123).integers(config.vocab_size, size=PROMPT)
    tokens = min(TOKENS, config.n_positions - PROMPT)
    functions = {"numpygpt": lambda: list(islice(continuation(params, config, prompt, np.argmax), tokens))}
    if installed("torch") and installed("transformers"):
        functions["transformers"] = _transformers(options.model, prompt, tokens)
    runs = in_turns(functions, options.repetitions, "generate")
    rates = {name: [tokens / seconds for seconds, _ in runs[name]] for name in runs}
    machine = Rates()
    read = sum(array.nbytes for name, array in params.items() if name != "wpe.weight")
    row = Row("cached, greedy", "tokens/s", rates["numpygpt"], rates.get("transformers", []))
    row.limit, row.higher_is_better = machine.reading / read, True
    notes = [machine.said()]
    if "transformers" in runs:
        (_, ours), (_, theirs) = runs["numpygpt"][0], runs["transformers"][0]
        same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), tokens)
        notes.append(f"Same text: the first {same} of {tokens} tokens are equal.")
    return Section("generate", __doc__, [row], notes, peer="transformers")


def _transformers(model, prompt, tokens):
    import torch
    from transformers import GPT2LMHeadModel

    gpt2 = GPT2LMHeadModel.from_pretrained(model).eval()
    ids = torch.from_numpy(prompt)[None]
    settings = dict(
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        pad_token_id=gpt2.config.eos_token_id,
    )

    return lambda: gpt2.generate(ids, **settings)[0, PROMPT:].tolist()
