PIECE = 1 << 16  # bytes; a piece and the few temporaries made from it then stay in a core's own cache


def pieces(x):
    """Slices of consecutive rows that together are x (N, D), each about PIECE bytes.

    Elementwise work that goes over a large array many times is limited by memory; going over a piece many times, it is not.
    """
    step = max(1, PIECE // max(1, x[:1].nbytes))
    return [slice(start, start + step) for start in range(0, len(x), step)]
