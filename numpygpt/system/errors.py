"""What a user is meant to see: the one exception, and the one warning."""


class InputError(ValueError):
    """Bad input: one line that says what is wrong, where, and what to do.

    Every command prints the message without a traceback and exits with status 2.
    """


class Note(UserWarning):
    """Something that a user should know, though nothing is wrong. Every command prints it on one line and goes on."""
