"""What can be measured."""

from datetime import date

from numpygpt.system.memory import keep_freed_memory

from . import chapter, forward, generate, language, machine, memory, neighbour, operations, step

MODULES = (chapter, step, forward, generate, language, memory, neighbour, operations)
SUBJECTS = {module.__name__.rpartition(".")[2]: module for module in MODULES}


def section(subject, options, command):
    """Measure a subject; the text of its section. Run it in a process of its own:
    what one subject leaves in memory must not be in the next one's way, nor in its peak.

    options   model, data (paths), repetitions (or None for the subject's own number),
              quick, weights (what to call the model)
    """
    keep_freed_memory()  # as numpygpt.train does; it holds for PyTorch, too
    module = SUBJECTS[subject]
    options.repetitions = options.repetitions or module.REPETITIONS
    measured = module.measure(options)
    return measured.markdown(f"`{command}`, {date.today()}. {machine.describe()}. Model: {options.weights}.")
