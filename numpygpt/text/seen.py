"""Which tokens the training messages had. A message of other tokens gets an answer, too, but a poorly founded one."""

import numpy as np

MOSTLY = 0.5  # from this share on, an answer comes with a remark


def noting(messages, seen):
    """Yield the messages, and set seen[id] (V,) for each of their token ids."""
    for ids in messages:
        seen[ids] = True
        yield ids


def unseen_share(ids, padding, seen):
    """Return the share of a message's ids (T,) that no training message had, without padding. Nan if seen is None."""
    own = ids[ids != padding]
    return float(np.mean(~seen[own])) if seen is not None and len(own) else np.nan


def remark(share):
    """Return what to say about a message with this share of unseen tokens; None if it is small or unknown."""
    return f"{share:.0%} of its tokens occur in no training message" if share >= MOSTLY else None
