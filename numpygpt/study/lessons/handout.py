"""The handout: every operation with its forward pass, its gradients and its shapes, on two printed pages."""

import html
from pathlib import Path

from ...system.pages import template
from ..formulas import FORMULAS
from ..mathml import mathml

TEMPLATE = Path(__file__).with_name("handout.html")
# What is on it, in the order of the model, from the tokens to the update. Exercises that repeat these are left out.
TITLES = {
    "embedding": "Embedding",
    "layernorm": "Layernorm",
    "linear": "Linear layer",
    "softmax": "Softmax",
    "dot_product_attention": "Attention of queries, keys and values",
    "attention": "Attention in heads",
    "gelu": "GELU",
    "block": "The transformer block",
    "query_attention": "Attention of one row, folded",
    "take_rows": "The row that is read",
    "mean_rows": "The mean of a message's rows",
    "cross_entropy": "Cross-entropy",
    "output_loss": "Output layer and loss",
    "tied_output": "Output layer tied to the embedding",
    "lora": "LoRA",
    "AdamW": "AdamW",
}


def handout() -> str:
    """Return the page, as HTML."""
    return template(TEMPLATE).replace("@CARDS@", "\n".join(card(name) for name in TITLES))


def card(name) -> str:
    """Return one operation's part of the page."""
    formula = FORMULAS[name]
    *given, result = (f"<b>{key}</b> {f'({shape})' if shape else ''}" for key, shape in formula.shapes.items())
    shapes = f"<p class='shapes'>{', '.join(given)} → {result}</p>" if name != "AdamW" else ""
    halves = [lines for lines in (formula.forward_latex(), formula.backward_latex()) if lines]
    return (
        f"<section><h2>{TITLES[name]} <code>{name}</code></h2>{shapes}"
        + "".join(f"<div class='lines'>{''.join(map(mathml, lines))}</div>" for lines in halves)
        + (f"<p>{html.escape(formula.remark)}</p>" if formula.remark else "")
        + "</section>"
    )
