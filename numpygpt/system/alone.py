"""A program that runs once; `training.ranks.Ranks` is one that runs several times together, on one machine or many."""

import os

# How the variables begin by which launchers tell a program of its rank: MPICH's and its kin's, PMIx, Open MPI's
LAUNCHERS = ("PMI_", "PMIX_", "OMPI_COMM_WORLD_")


def launched():
    """How many ranks mpiexec or the like has started, at least; 0 where it has not started this program."""
    found = [launcher for launcher in LAUNCHERS if f"{launcher}RANK" in os.environ]
    return max((int(os.environ.get(f"{launcher}SIZE", 1)) for launcher in found), default=0)


class Alone:
    """What is said of each method in `training.ranks.Ranks`, where there is one rank."""

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
        """(n,) the rank that takes each of n items: the dearest first, each to the one that has least to do."""
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

    def gradient(self, mean, items, costs, grain=None):
        if not grain:
            return mean(items)
        from .blas import parallel  # and with it NumPy, which a command that only starts others does not need

        loss, total = 0, {}
        parts = grains(items, grain)
        for part, (part_loss, grads) in zip(parts, parallel(mean, parts)):
            share = len(part) / len(items)
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
    """The items in parts of at most `grain`."""
    return [items[start : start + grain] for start in range(0, len(items), grain)]
