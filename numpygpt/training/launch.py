"""Start a command as a single process, or as one of the ranks that mpiexec started."""

from functools import wraps

from ..system.errors import InputError
from ..system.single_process import SingleProcess, launched


def on_every_rank(main):
    """Turn main(argv, ranks) into a command's main(argv). Without mpiexec, ranks is a SingleProcess without MPI."""

    @wraps(main)
    def ranked(argv=None):
        started = launched()
        every = SingleProcess()
        try:
            if started:
                from .ranks import Ranks  # imports NumPy, which --help does not need

                every = Ranks()
        except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py found no MPI
            raise InputError(
                f"under mpiexec, numpygpt needs MPI. Install it: pip install mpi4py mpich ({error})"
            ) from None
        if every.size < started:
            raise InputError(
                f"mpiexec started {started} ranks, but mpi4py sees one: they belong to different MPIs. Use one MPI"
            )
        with every as ranks:
            main(argv, ranks)

    return ranked
