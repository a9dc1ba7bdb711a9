"""The one exception a user is meant to see."""


class InputError(ValueError):
    """Bad input: one line that says what is wrong, where, and what to do.

    Every command prints the message without a traceback and exits with status 2.
    """
