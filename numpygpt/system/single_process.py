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
        """Assign n items to ranks, the most expensive first, each to the least loaded rank. Return n rank numbers."""
        owners, load = [0] * len(costs), [0] * self.size
        for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
            owners[i] = load.index(min(load))
            load[owners[i]] += costs[i]
        return owners

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
        parts = grains(items, grain)
        weights = grains([1] * len(items) if weights is None else weights, grain)
        for share, (part_loss, grads) in zip(shares(weights), parallel(mean, parts)):
            loss += part_loss * share
            for name, gradient in grads.items():
                gradient *= share
                if name in total:
                    gradient += total[name]
            total = grads
        return loss, total

    def check_equal(self, what, value):
        pass


def grains(items, grain):
    """Split the items into chunks of at most `grain` items."""
    return [items[start : start + grain] for start in range(0, len(items), grain)]


def shares(weights):
    """Return each part's share of the mean over all items, from the weights of its items."""
    sums = [float(sum(part)) for part in weights]
    return [part / sum(sums) for part in sums]
