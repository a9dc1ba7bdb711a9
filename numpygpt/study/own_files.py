"""Operations in files of your own, such as solved exercises, for `fine_tune`'s `ops`."""

from ..model.own_operations import OwnOperations
from ..system.errors import InputError
from .checking.check import existing
from .checking.learner import Source, Stop, loaded
from .checking.learner_process import does_not_run, on_one_line


def operations_in(files):
    """Return {name: function} of files with one function each. The files run in this process.

    Raises InputError for a file that is missing or does not run, for a name that is no operation of a classifier, and
    where two files define the same name.
    """
    found = {}
    for path in map(existing, files):
        try:
            function = loaded(path, None, Source(path.name, path.resolve().parent))
        except Stop as stop:
            raise InputError(on_one_line(does_not_run(stop.args[0], path.name, ()))) from None
        if function.__name__ in found:
            raise InputError(f"{path}: another file defines {function.__name__}, too. Give one of them")
        found[function.__name__] = function
    OwnOperations(found)  # raises for a name that is no operation, before a run begins
    return found
