"""Delay Ctrl-C until the program can save its work."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def ctrl_c_waits():
    """Delay Ctrl-C inside the block. In `with ctrl_c_waits() as pressed`, the first Ctrl-C only makes pressed() true.

    A second Ctrl-C interrupts at once. In threads other than the main thread, which receives signals, this has no
    effect.
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
