def decay_in_the_moments():
    """Weight decay is added to the gradient and so gets into the moments: that is Adam with L2, which scales it per
    number. AdamW takes it off p, apart from the gradient."""
    h = g + weight_decay * p
    new_m = beta1 * m + (1 - beta1) * h
    new_v = beta2 * v + (1 - beta2) * h * h
    new_p = p - lr * new_m / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)


def no_decay():
    """There is no weight decay: p (1 - lr weight_decay)."""
    new_p = p - lr * step


def decay_without_lr():
    """Weight decay is not multiplied by lr: p (1 - lr weight_decay)."""
    new_p = p * (1 - weight_decay) - lr * step


def decay_afterwards():
    """Weight decay is taken off after the step, of the new p: it comes first."""
    new_p = (p - lr * step) * (1 - lr * weight_decay)


def no_bias_correction():
    """The bias correction is left out: m and v start at 0, so they are divided by 1 - beta^t."""
    new_p = decayed - lr * new_m / (np.sqrt(new_v) + eps)


def first_moment_uncorrected():
    """The bias correction of m is left out: m / (1 - beta1^t)."""
    new_p = decayed - lr * new_m / (np.sqrt(new_v / (1 - beta2**t)) + eps)


def second_moment_uncorrected():
    """The bias correction of v is left out: v / (1 - beta2^t)."""
    new_p = decayed - lr * new_m / (1 - beta1**t) / (np.sqrt(new_v) + eps)


def steps_from_zero():
    """Steps are counted one too far: the first has t = 1, and t comes in as it is to be used."""
    new_p = decayed - lr * new_m / (1 - beta1 ** (t + 1)) / (np.sqrt(new_v / (1 - beta2 ** (t + 1))) + eps)


def moments_kept_corrected():
    """m and v are returned with their bias correction in them. It serves the step only; what is kept is not divided."""
    new_m, new_v = new_m / (1 - beta1**t), new_v / (1 - beta2**t)


def eps_in_the_root():
    """eps is inside the square root: it is added to the root."""
    new_p = decayed - lr * new_m / (1 - beta1**t) / np.sqrt(new_v / (1 - beta2**t) + eps)


def eps_forgotten():
    """eps is left out of the divisor."""
    new_p = decayed - lr * new_m / (1 - beta1**t) / np.sqrt(new_v / (1 - beta2**t))


def no_root():
    """The square root is missing: the step is divided by the root of v."""
    new_p = decayed - lr * new_m / (1 - beta1**t) / (new_v / (1 - beta2**t) + eps)


def not_squared():
    """v is a mean of the gradients, and not of their squares."""
    new_v = beta2 * v + (1 - beta2) * g
    new_p = decayed - lr * new_m / (1 - beta1**t) / (np.sqrt(np.abs(new_v) / (1 - beta2**t)) + eps)


def betas_exchanged():
    """The betas are exchanged: beta1 is for m, beta2 for v."""
    new_m = beta2 * m + (1 - beta2) * g
    new_v = beta1 * v + (1 - beta1) * g * g
    new_p = decayed - lr * new_m / (1 - beta2**t) / (np.sqrt(new_v / (1 - beta1**t)) + eps)


def shares_exchanged():
    """The shares are exchanged: beta is what is kept of the old mean, 1 - beta what is taken of the new."""
    new_m = (1 - beta1) * m + beta1 * g
    new_v = (1 - beta2) * v + beta2 * g * g
    new_p = decayed - lr * new_m / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)


def gradient_for_moment():
    """The step is made with the gradient of this step alone: m belongs there, the mean of recent ones."""
    new_p = decayed - lr * g / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)


def uphill():
    """The step has the wrong sign: it goes against the gradient."""
    new_p = decayed + lr * step
