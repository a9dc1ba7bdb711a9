"""Write a page about one message's way forward and back, or print one operation."""

from shutil import get_terminal_size

from ..study.checking.check import file_and_function
from ..study.trace.own import step_of_file
from ..study.trace.page import check_new, page, save
from ..study.trace.terminal import in_terminal, listed, step_in_terminal
from ..system import command


def run(args):
    if args.file is not None:
        show_file(args)
        return
    if args.op is not None:
        width = get_terminal_size().columns
        print(in_terminal(args.op, width, command.colour()) if args.op else listed(width))
        return
    check_new(args.out)
    from ..api.gpt import load  # one operation needs no model

    if args.language:
        trace = load(args.model, heads=args.heads).trace(args.text, args.trainable)
    else:
        clf = classifier_of(args)
        trace = clf.trace(args.text, args.label or clf.labels[-1], folded=args.folded)
    progress = command.Progress("checking the gradients", "steps")
    text = page(trace, progress)
    progress.clear()
    save(args.out, text)
    print(f"{args.out}: loss {trace.loss:.6f}, {len(trace.steps)} steps forward and back; open it in a browser")


def show_file(args):
    """Trace the operation in a file of the user's."""
    if args.op is None:
        check_new(args.out)
    step = step_of_file(*file_and_function(args.file))
    if args.op is not None:
        print(step_in_terminal(step, get_terminal_size().columns, command.colour()))
        return
    step.save(args.out)
    wrong = len(step.beside)
    verdict = next(line for line in reversed(step.said) if not line.startswith("Stuck?"))
    found = f"{wrong} of its arrays {'are' if wrong > 1 else 'is'} wrong" if wrong else verdict
    print(f"{args.out}: {step.kind}; {found}; open it in a browser")


def classifier_of(args):
    """Return the Classifier to trace: the run's, or an untrained head on the model."""
    from ..api.classifier import Classifier
    from ..api.gpt import load
    from ..api.run import load_run
    from ..model.trainable import trainable_names

    if args.run is None:
        return Classifier(
            load(args.model, heads=args.heads), ["ham", "spam"], args.trainable, pad="end", position="last"
        )
    clf = load_run(args.run)
    clf._trainable = trainable_names(args.trainable, clf.params, clf.config)
    return clf
