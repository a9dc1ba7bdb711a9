"""CRC-32C (Castagnoli), the checksum of TensorFlow's checkpoints, in NumPy at nearly the speed of memory.

A checksum is the remainder of the data, read as one polynomial over GF(2), divided by a polynomial P of degree 32. A
table look-up for each byte, the usual way, would take Python minutes for half a gigabyte. Instead: P divides

    x^5685 + x^1362 + x^426 + 1        (found by search; the tests divide it)

and hence its 64th power, which over GF(2) has the same four terms with exponents 64 times as large. So the remainder
stays the same when the first 64-bit word of the data is taken away and added (xor) to the words 5685 - 1362, 5685 - 426
and 5685 places behind it. That is three array additions for thousands of words at once, until 5685 words are left. The
8th power does the same to their bytes, and the last 5685 bytes go through the table.
"""

import numpy as np

_LAST = 5685
_PLACES = (_LAST - 1362, _LAST - 426, _LAST)
_WORDS = 1 << 15  # read and folded at a time: 256 KiB, which stay in the processor's cache
_START = b"\x54\x64\x1f\x64"  # these four bytes, put first, take the register from 0 to the ones it has to start with


def crc32c(file, count):
    """The CRC-32C of the next `count` bytes of an open binary file."""
    rest = _START + file.read(count) if count <= _LAST else _last_bytes(file, count)
    register = 0
    for octet in rest:
        register = register >> 8 ^ _TABLE[(register ^ octet) & 0xFF]
    return register ^ 0xFFFFFFFF


def _last_bytes(file, count):
    """The 5685 bytes that have the same remainder as the start value and the next `count` bytes of the file."""
    words = np.zeros(_LAST + _WORDS, np.uint64)
    octets = words.view(np.uint8)
    size = (count - 1) % (8 * _WORDS) + 1  # the first piece is the odd one: zeros in front of the data change nothing
    octets[len(octets) - size - 4 : len(octets) - size] = np.frombuffer(_START, np.uint8)
    for remaining in range(count - size, -1, -8 * _WORDS):
        octets[len(octets) - size :] = np.frombuffer(file.read(size).ljust(size, b"\0"), np.uint8)
        _fold(words)
        if remaining:
            size = 8 * _WORDS
            words[:_LAST] = words[-_LAST:]
    rest = octets[-8 * _LAST :]
    _fold(rest)
    return rest[-_LAST:].tolist()


def _fold(units):
    """Add all but the last 5685 words or bytes to those behind them, in place."""
    for begin in range(0, len(units) - _LAST, _PLACES[0]):
        part = units[begin : min(begin + _PLACES[0], len(units) - _LAST)]
        for place in _PLACES:
            units[begin + place : begin + place + len(part)] ^= part


def _table():
    """The register after each byte. P without x^32 is 0x82F63B78, its bits reversed (RFC 3720, appendix B.4)."""
    table = []
    for register in range(256):
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
        table.append(register)
    return table


_TABLE = _table()
