"""Run a program as a single process. `training.ranks.Ranks` runs it as several processes, on one or many machines."""

import os

# The prefixes of the variables in which launchers store a rank: MPICH and its derivatives, PMIx, Open MPI
LAUNCHERS = ("PMI_", "PMIX_", "OMPI_COMM_WORLD_")


def launched():
    """Return the minimum number of ranks that a launcher such as mpiexec started, or 0 without a launcher."""
    found = [launcher for launcher in LAUNCHERS if f"{launcher}RANK" in os.environ]
    return max((int(os.environ.get(f"{launcher}SIZE", 1)) for launcher in found), default=0)


class SingleProcess:
    """The methods of `training.ranks.Ranks` for one rank. See there."""

    rank, size = 0, 1

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def gather(self, value):
        return [value]

    def broadcast(self, array, root):
        pass

    def owners(self, costs):
        """Return a rank number for each item."""
        return assigned(costs, self.size)

    def map(self, function, items, costs, map=map):
        return list(map(function, items))

    def once(self, function, *args):
        return function(*args)

    def in_turn(self, function, *args):
        return function(*args)

    def gradient(self, mean, items, costs, grain=None, weights=None):
        if not grain:
            return mean(items)
        from .blas import parallel  # imports NumPy, which a command that only starts others does not need

        loss, total = 0, {}
        parts = grains(costs, grain)
        for share, (part_loss, grads) in zip(shares(weights, parts), parallel(lambda part: mean(items[part]), parts)):
            loss += part_loss * share
            for name, gradient in grads.items():
                gradient *= share
                if name in total:
                    gradient += total[name]
            total = grads
        return loss, total

    def check_equal(self, what, value):
        pass


def assigned(costs, count):
    """Assign items to `count` bins, the most expensive first, each to the least loaded bin. Return their bins."""
    bins, load = [0] * len(costs), [0] * count
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        bins[i] = load.index(min(load))
        load[bins[i]] += costs[i]
    return bins


def grains(costs, grain):
    """Divide items into parts of similar costs, with `grain` items in the mean. Return the places of each part."""
    count = -(-len(costs) // grain)
    bins = assigned(costs, count)
    return [[i for i, bin in enumerate(bins) if bin == part] for part in range(count)]


def shares(weights, parts):
    """Return each part's share of the mean over all items, from the weights of the items; None weighs all equally."""
    sums = [float(len(part) if weights is None else sum(weights[i] for i in part)) for part in parts]
    return [part / sum(sums) for part in sums]
