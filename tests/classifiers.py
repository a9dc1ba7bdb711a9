"""Make classifiers and loaders from arrays, for tests with their own parameters and token ids."""

import numpy as np

from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.model.trainable import trainable_names
from numpygpt.training.batch import batch_logits, batch_loss
from numpygpt.training.frozen_features import FrozenPrefix
from numpygpt.training.loader import Loader


def classifier_of(params, config, choice, *, position="last", causal=True, lora_scale=None):
    """Return a Classifier without tokenizer that trains these parameters (with a head) in place."""
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
    """Return (loss, grads) of messages of token ids, with as many frozen blocks as the classifier allows."""
    x, lengths = prefix_of(clf, messages).batch(np.arange(len(messages)))
    return batch_loss(clf, x, lengths, np.array(numbers), clf.frozen_blocks)


def logits_of(clf, messages):
    x, lengths = prefix_of(clf, messages).batch(np.arange(len(messages)))
    return batch_logits(clf, x, lengths, clf.frozen_blocks)
