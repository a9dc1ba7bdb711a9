"""The subjects that can be measured."""

from datetime import date

from numpygpt.system.memory import keep_freed_memory

from . import (
    chapter,
    default,
    forward,
    generate,
    language,
    machine,
    memory,
    neighbour,
    operations,
    pretrain,
    step,
    waits,
)

MODULES = (default, chapter, step, forward, waits, generate, language, pretrain, memory, neighbour, operations)
SUBJECTS = {module.__name__.rpartition(".")[2]: module for module in MODULES}


def section(subject, options, command):
    """Measure a subject and return the text of its section.

    Run it in a separate process, so that one subject's memory neither slows the next nor counts in its peak.

    options   model, data (paths), repetitions (or None for the subject's own number),
              quick, weights (what to call the model)
    """
    keep_freed_memory()  # as in numpygpt.train; it also applies to PyTorch
    module = SUBJECTS[subject]
    options.repetitions = options.repetitions or module.REPETITIONS
    measured = module.measure(options)
    return measured.markdown(f"`{command}`, {date.today()}. {machine.describe()}. Model: {options.weights}.")
