"""Data-parallel training: one program, started several times, on the cores of one machine or on many machines.

    mpiexec -n 4 python -m numpygpt.train

MPI, the Message Passing Interface, starts four processes and carries numbers between them. mpi4py is its Python
library. Each process is a *rank*, numbered from 0. Together they do four simple things:

1. Every rank loads the same model, reads the same messages and draws the same random numbers. So every rank knows,
   without communication, which messages the next batch has, and which of them are its own part.
2. Every rank computes the gradient of its part. This is nearly all the work, and needs no communication.
3. The gradients are summed, and every rank receives the sum: an *all-reduce*. A batch's gradient is the mean of its
   messages' gradients. So a rank whose part has k of B messages contributes k / B times the mean over its part.
4. Every rank makes the same update with the same sum. So the parameters stay equal and are never sent.

A *collective* operation is one that all ranks call in the same order. Each rank waits there for the other ranks. So a
rank that fails must end the other ranks, which would otherwise wait forever.
"""

import os
import sys
import time

import numpy as np

from ..system import blas, command
from ..system.errors import InputError
from ..system.single_process import SingleProcess, grains, shares

CHECK_EVERY = 100  # steps between comparisons of the ranks' parameters


class Ranks(SingleProcess):
    """All ranks, as seen by rank number `rank` of `size`. All methods are collective.

    As a context manager, Ranks lets only rank 0 print, ends all ranks after an error of one, and shares a machine's
    cores among its ranks as BLAS threads.
    """

    def __init__(self):
        from mpi4py import MPI  # imported here, because the import joins MPI

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
        time.sleep(min(self.rank, 8) / 2)  # after an error of all ranks, rank 0 reports it and ends the waiting ranks
        status = command.failed(error)
        sys.stdout.flush()
        time.sleep(0.2)  # mpiexec once lost the last lines of output, for an unknown reason
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # suppress the line that MPI adds
        self.comm.Abort(status)

    def gather(self, value):
        """Return [each rank's value] on every rank."""
        return self.comm.allgather(value)

    def broadcast(self, array, root):
        """Copy the array's values from rank `root` to every rank, in place."""
        self.comm.Bcast(array, root)

    def map(self, function, items, costs, map=map):
        """Return [function(item) for each item]. Each rank computes a part, with `map`, and receives the others."""
        owners = self.owners(costs)
        mine = [i for i, owner in enumerate(owners) if owner == self.rank]
        done = dict(zip(mine, map(function, [items[i] for i in mine])))
        found = {i: result for part in self.gather(done) for i, result in part.items()}
        return [found[i] for i in range(len(items))]

    def once(self, function, *args):
        """Call function(*args) on rank 0 only, to write a file for instance. Return its result on every rank."""
        return self.comm.bcast(None if self.rank else function(*args))

    def in_turn(self, function, *args):
        """Return function(*args), called on rank 0 first, so that the other ranks find its downloads."""
        result = None if self.rank else function(*args)
        self.comm.barrier()
        return function(*args) if self.rank else result

    def check_equal(self, what, value):
        """Raise InputError unless value(), such as a checksum, is equal on all ranks."""
        if len(set(self.gather(value()))) > 1:
            raise InputError(f"the ranks differ in {what}. Give all machines the same files and the same versions")

    def gradient(self, mean, items, costs, grain=None, weights=None):
        """Return (loss, {name: gradient}) of the mean over an array of items, of which each rank takes a part.

        This is an all-reduce written by hand, in rounds of one part per rank. Every rank sends the n-th slice of its
        gradient to rank n, which sums the slices (a reduce-scatter). After the last round every rank receives the sums
        of all slices (an all-gather).
        mean    some items -> (loss, {name: gradient}) of their mean
        costs   a number for each item, such as its tokens; the ranks' parts have similar sums
        grain   items per part, in the mean. Their parts do not depend on the number of ranks and are summed in order,
                so any number of ranks gives the same bits
        weights   a number for each item, its weight in the mean (default: all equal)
        """
        owners = np.array(self.owners(costs))
        parts = grains(costs, grain) if grain else [np.flatnonzero(owners == rank) for rank in range(self.size)]
        share_of = shares(weights, parts)
        loss, total = 0, None
        for first in range(0, len(parts), self.size):
            now = parts[first : first + self.size]
            place = min(self.rank, len(now) - 1)  # spare ranks repeat the last part, which is not added twice
            mine, share = now[place], share_of[first + place]
            # A rank without items must send a gradient too. It has a share of 0.
            part_loss, grads = mean(items[mine] if len(mine) else items[:1])
            loss = sum(self.gather(part_loss * share)[: len(now)], loss)
            sent, grads = self._flat(grads, share)  # frees the gradients
            received = np.empty_like(sent)
            self.comm.Alltoall(sent, received)
            for part in np.split(received, self.size)[: len(now)]:
                total = part.copy() if total is None else np.add(total, part, out=total)
        self.comm.Allgather(total, sent)
        return loss, grads

    def _flat(self, grads, share):
        """Return share * gradients as one array of `size` equal slices, and {name: its view of that array}.

        One long message costs less than many short ones. Every rank has the gradients in the order of their names.
        """
        names = sorted(grads)
        ends = np.cumsum([grads[name].size for name in names])
        flat = np.zeros(-(-ends[-1] // self.size) * self.size, grads[names[0]].dtype)
        places = {n: flat[end - grads[n].size : end].reshape(grads[n].shape) for n, end in zip(names, ends)}
        for name, place in places.items():
            np.multiply(grads[name], share, out=place)
        return flat, places
