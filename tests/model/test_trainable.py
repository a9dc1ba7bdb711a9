"""Choices and patterns select parameters, and these determine the frozen depth."""

import numpy as np
import pytest

from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes
from numpygpt.model.trainable import frozen_depth, trainable_names
from numpygpt.system.errors import InputError

CONFIG = Config(vocab_size=5, n_positions=4, n_embd=2, n_layer=12, n_head=1)
NAMES = [*parameter_shapes(CONFIG), "head.weight", "head.bias"]
PARAMS = dict.fromkeys(NAMES, np.zeros(1))


def starting(*prefixes):
    return {name for name in NAMES if name.startswith(prefixes)}


@pytest.mark.parametrize(
    "choice, expected, depth",
    [
        ("head", starting("head."), 12),
        ("last_block", starting("h.11.", "ln_f.", "head."), 11),
        ("last_two_blocks", starting("h.10.", "h.11.", "ln_f.", "head."), 10),
        ("all", set(NAMES), 0),
        ("ln_f.*", starting("ln_f."), 12),
        ("h.1.*", starting("h.1."), 1),  # and not h.10, h.11
        ("head,h.3.attn.*.bias", starting("head.") | {"h.3.attn.c_attn.bias", "h.3.attn.c_proj.bias"}, 3),
        ("*.ln_1.weight,head", starting("head.") | {f"h.{n}.ln_1.weight" for n in range(12)}, 0),
        ("last_block,wpe.weight", starting("h.11.", "ln_f.", "head.", "wpe."), 0),
    ],
)
def test_a_choice_selects_its_parameters_and_freezes_the_blocks_below(choice, expected, depth):
    names = trainable_names(choice, PARAMS, CONFIG)
    assert names == expected
    assert frozen_depth(names, CONFIG) == depth


def test_last_two_blocks_of_a_model_with_one_block_are_that_block():
    config = Config(vocab_size=5, n_positions=4, n_embd=2, n_layer=1, n_head=1)
    params = dict.fromkeys([*parameter_shapes(config), "head.weight", "head.bias"])
    assert trainable_names("last_two_blocks", params, config) == trainable_names("last_block", params, config)


def test_the_frozen_depth_compares_block_numbers_not_names():
    assert frozen_depth(frozenset({"h.11.ln_1.bias", "h.2.ln_1.bias"}), CONFIG) == 2


@pytest.mark.parametrize(
    "choice, wrong", [("heads", "heads"), ("head,", ""), ("head,h.12.*", "h.12.*"), ("HEAD", "HEAD")]
)
def test_a_pattern_that_selects_nothing_is_refused_with_its_name(choice, wrong):
    with pytest.raises(InputError, match="^trainable: ") as error:
        trainable_names(choice, PARAMS, CONFIG)
    assert repr(wrong) in str(error.value) and "last_two_blocks" in str(error.value)
