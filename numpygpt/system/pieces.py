from .blas import parallel

PIECE = (
    1 << 20
)  # bytes; the few arrays of a piece then stay in a core's caches, and a core is not stopped by Python too often


def each_piece(function, x):
    """Call function(rows) for slices of consecutive rows that together are x (N, D),
    each about PIECE bytes, on all cores.

    Elementwise work that goes over a large array many times is limited by memory;
    going over a piece many times, it is not.
    """
    parallel(function, pieces(x))


def pieces(x):
    """The slices of each_piece."""
    step = max(1, PIECE // max(1, x[:1].nbytes))
    return [slice(start, start + step) for start in range(0, len(x), step)]
