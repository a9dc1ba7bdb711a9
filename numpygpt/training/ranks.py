"""Data-parallel training: one program, started several times, on the cores of one machine or on many machines.

    mpiexec -n 4 python -m numpygpt.train

MPI, the Message Passing Interface, starts the four and carries numbers between them; mpi4py speaks it in Python. Each
of them is a *rank*, numbered from 0. What they do together is simple:

1. Every rank loads the same model, reads the same messages and draws the same random numbers. So each knows, without
   asking, which messages the next batch has, and which of them are its own part.
2. It computes the gradient of its part. This is nearly all the work, and needs nobody else.
3. The gradients are added up, and every rank receives the sum: an *all-reduce*. A batch's gradient is the mean of its
   messages' gradients, so a rank whose part has k of B messages gives k / B times its part's mean.
4. Every rank makes the same update with the same sum. So the parameters stay equal without ever being sent.

A *collective* operation is one that all ranks call, in the same order: each waits there for the rest. So a rank that
fails has to end the others, which would wait forever.
"""

import os
import sys
import time
from functools import wraps

import numpy as np

from ..system import blas, command
from ..system.errors import InputError
from ..system.single_process import SingleProcess, grains, launched

CHECK_EVERY = 100  # steps between two comparisons of the ranks' parameters


def on_every_rank(main):
    """Make main(argv, ranks) the main(argv) of a command. Without mpiexec, ranks is a SingleProcess; no MPI is used."""

    @wraps(main)
    def ranked(argv=None):
        started = launched()
        try:
            every = Ranks() if started else SingleProcess()
        except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py found no MPI
            raise InputError(f"under mpiexec numpygpt needs MPI: pip install mpi4py mpich ({error})") from None
        if every.size < started:
            raise InputError(f"each of {started} ranks finds itself alone: mpiexec and mpi4py belong to different MPIs")
        with every as ranks:
            main(argv, ranks)

    return ranked


class Ranks(SingleProcess):
    """All ranks as one of them sees them, number `rank` of `size`. All methods are collective.

    `with` them, rank 0 alone prints, an error of one ends all, and a machine's cores are shared out to BLAS threads.
    """

    def __init__(self):
        from mpi4py import MPI  # not above: who imports it takes part in MPI

        self.mpi, self.comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.comm.rank, self.comm.size

    def __enter__(self):
        if not {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"} & os.environ.keys():
            here = self.comm.Split_type(self.mpi.COMM_TYPE_SHARED)
            mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
            blas.set_threads(max(1, len(set().union(*here.allgather(mine))) // here.size))
        self.streams = sys.stdout, sys.stderr
        if self.rank:
            sys.stdout = sys.stderr = open(os.devnull, "w")
        return self

    def __exit__(self, kind, error, trace):
        sys.stdout, sys.stderr = self.streams
        if error is None or (isinstance(error, SystemExit) and not error.code):
            return
        time.sleep(min(self.rank, 8) / 2)  # an error of all is told by rank 0, which ends those that wait here
        status = command.failed(error)
        sys.stdout.flush()
        time.sleep(0.2)  # mpiexec once lost what was said just before the end; why is not known
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI would add a line of its own
        self.comm.Abort(status)

    def gather(self, value):
        """[each rank's value], on every rank."""
        return self.comm.allgather(value)

    def broadcast(self, array, root):
        """Fill the array with what it is on the rank `root`."""
        self.comm.Bcast(array, root)

    def map(self, function, items, costs, map=map):
        """[function(item) of each], where each rank computes some of them, by `map`, and receives the others."""
        owners = self.owners(costs)
        mine = [i for i, owner in enumerate(owners) if owner == self.rank]
        done = dict(zip(mine, map(function, [items[i] for i in mine])))
        found = {i: result for part in self.gather(done) for i, result in part.items()}
        return [found[i] for i in range(len(items))]

    def once(self, function, *args):
        """What function(*args) returns on rank 0, which alone calls it: to write a file, say."""
        return self.comm.bcast(None if self.rank else function(*args))

    def in_turn(self, function, *args):
        """function(*args), on rank 0 first: what that one downloads, the others find."""
        result = None if self.rank else function(*args)
        self.comm.barrier()
        return function(*args) if self.rank else result

    def check_equal(self, what, value):
        """Raise InputError unless value(), a checksum say, is equal on all ranks."""
        if len(set(self.gather(value()))) > 1:
            raise InputError(f"the ranks differ in {what}: have all machines the same files and the same versions?")

    def gradient(self, mean, items, costs, grain=None):
        """(loss, {name: gradient}) of the mean over an array of items, of which each rank takes a part.

        It is an all-reduce by hand, in rounds of one part a rank. All send the n-th slice of their gradient to rank n,
        which adds them up (a reduce-scatter); at last every rank receives every slice's sum (an all-gather).
        mean    of some of the items, their (loss, {name: gradient}); costs, tokens say, by which they are shared out
        grain   items to a part: the sum, in the order of the parts, has then the same bits on any number of ranks
        """
        owners = np.array(self.owners(costs))
        parts = grains(items, grain) if grain else [items[owners == rank] for rank in range(self.size)]
        loss, total = 0, None
        for first in range(0, len(parts), self.size):
            now = parts[first : first + self.size]
            mine = now[min(self.rank, len(now) - 1)]  # whoever is left over takes the last, which is not added twice
            part_loss, grads = mean(mine if len(mine) else items[:1])  # with a share of 0: all must send something
            share = len(mine) / len(items)
            loss = sum(self.gather(part_loss * share)[: len(now)], loss)
            sent, grads = self._flat(grads, share)  # the others are not needed any more
            received = np.empty_like(sent)
            self.comm.Alltoall(sent, received)
            for part in np.split(received, self.size)[: len(now)]:
                total = part.copy() if total is None else np.add(total, part, out=total)
        self.comm.Allgather(total, sent)
        return loss, grads

    def _flat(self, grads, share):
        """share times all gradients in one array of `size` equal slices, for one long message costs less than many; and
        {name: its place in there}, in the order of the names, which is everybody's."""
        names = sorted(grads)
        ends = np.cumsum([grads[name].size for name in names])
        flat = np.zeros(-(-ends[-1] // self.size) * self.size, grads[names[0]].dtype)
        places = {n: flat[end - grads[n].size : end].reshape(grads[n].shape) for n, end in zip(names, ends)}
        for name, place in places.items():
            np.multiply(grads[name], share, out=place)
        return flat, places
