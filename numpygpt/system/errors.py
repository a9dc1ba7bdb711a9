"""Define the exception and the warning for the user, and how messages count."""


class InputError(ValueError):
    """Bad input. The message is one line that says what is wrong, where, and what to do.

    Commands print the message without a traceback and exit with status 2.

    Examples
    --------
    >>> import numpygpt
    >>> numpygpt.load("gpt3")
    Traceback (most recent call last):
        ...
    numpygpt.system.errors.InputError: gpt3: no such folder or file; the models with a name are mini, gpt2, ...
    """


class Note(UserWarning):
    """Something that the user should know, although nothing is wrong. Commands print it on one line and continue."""


def counted(number: int, thing: str) -> str:
    """Return "1 message", "1,200 messages"."""
    return f"{number:,} {thing}{'s' * (number != 1)}"
