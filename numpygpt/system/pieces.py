"""Work on large arrays in pieces of their rows that fit a core's cache, on all cores."""

from .blas import parallel

PIECE = 1 << 20  # bytes of an array in a piece: few enough for the cache, enough to hide the cost of Python's calls
BUNDLE = 1 << 18  # numbers that one core updates before it takes the next: small tensors together


def pieces(x):
    """Slices of consecutive rows that together are x, each about PIECE bytes."""
    step = max(1, PIECE // max(1, x[:1].nbytes))
    return [slice(start, start + step) for start in range(0, len(x), step)]


def each_piece(function, groups):
    """function(*parts) for matching pieces of each group of equally shaped arrays, on all cores; for work done in
    place. All but a group's first may also be Products, each piece of which is made where it is worked on."""
    parallel(lambda bundle: [function(*(array[rows] for array in group)) for group, rows in bundle], _bundles(groups))


def _bundles(groups):
    bundle, numbers = [], 0
    for group in groups:
        for rows in pieces(group[0]):  # rows, and not a flat view, which would be a copy if an array is not in C order
            bundle.append((group, rows))
            numbers += group[0][rows].size
            if numbers >= BUNDLE:
                yield bundle
                bundle, numbers = [], 0
    yield bundle
