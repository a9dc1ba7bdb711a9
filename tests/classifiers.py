"""Classifiers and loaders made of bare arrays, for tests that bring their own parameters and token ids."""

import numpy as np

from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.model.trainable import trainable_names
from numpygpt.training.batch import batch_logits, batch_loss
from numpygpt.training.frozen_features import FrozenPrefix
from numpygpt.training.loader import Loader


def classifier_of(params, config, choice, *, position="last", causal=True, lora_scale=None):
    """A Classifier with these parameters, head included, which it changes in place; it has no tokenizer."""
    labels = [f"label {i}" for i in range(len(params["head.bias"]))]
    clf = Classifier(GPT(config, params, None, "a test"), labels, "head", position=position, causal=causal)
    clf.params, clf.lora_scale = params, lora_scale
    clf._trainable = trainable_names(choice, params, config)
    return clf


def prefix_of(clf, messages):
    return FrozenPrefix(clf.params, clf.config, messages, clf.frozen_blocks, clf.pooling)


def loader_of(clf, messages, numbers, batch_size, generator=None, shuffle=False):
    return Loader(prefix_of(clf, messages), np.arange(len(messages)), np.array(numbers), batch_size, generator, shuffle)


def loss_of(clf, messages, numbers):
    """(loss, grads) of messages of token ids, with as many blocks frozen as the classifier allows."""
    x, lengths = prefix_of(clf, messages).batch(np.arange(len(messages)))
    return batch_loss(clf, x, lengths, np.array(numbers), clf.frozen_blocks)


def logits_of(clf, messages):
    x, lengths = prefix_of(clf, messages).batch(np.arange(len(messages)))
    return batch_logits(clf, x, lengths, clf.frozen_blocks)
