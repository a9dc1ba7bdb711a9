"""Ctrl-C that waits until what was begun can be saved."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def ctrl_c_waits():
    """`with ctrl_c_waits() as pressed`: the first Ctrl-C only makes pressed() true; the second does not wait.

    Signals come to a program's main thread: in any other this changes nothing.
    """
    came = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def interrupt(*_):
        came.append(True)
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, previous)
