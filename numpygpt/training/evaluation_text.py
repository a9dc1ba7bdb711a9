"""Show an Evaluation as text in a terminal, or as tables in a notebook."""

from html import escape

import numpy as np

from ..system.errors import counted

FREQUENT = 20  # how many pairs of labels to show if the matrix is too wide, and labels in a notebook


def in_full(found):
    """Return all figures as text."""
    return "\n\n".join([summary(found), _confusion(found), _calibration(found), _mistakes(found.mistakes)])


def in_brief(found):
    if not found.messages:
        return "Evaluation of no messages"
    lines = [
        f"Evaluation of {counted(found.messages, 'message')} with {counted(len(found.labels), 'label')}",
        *_accuracies(found),
    ]
    return "\n".join([*lines, "print() shows all figures"])


def in_notebook(found):
    import pandas as pd

    if not found.messages:
        return None
    shares = {"precision": found.precision, "recall": found.recall, "F1": found.f1}
    figures = pd.DataFrame(shares, found.labels).apply(lambda column: column.map("{:.2%}".format))
    figures["messages"] = found.support
    answers = pd.DataFrame(found.confusion, found.labels, [f"answer {label}" for label in found.labels])
    table = figures.join(answers) if len(found.labels) <= FREQUENT else figures
    return "<pre>" + escape("\n".join(_accuracies(found))) + "</pre>" + table.to_html(max_rows=FREQUENT)


def summary(found):
    """Return the accuracies, and each label's figures."""
    lines = _accuracies(found)
    if found.repeated:
        lines.append(f"Also in the training set: {found.repeated:,} of these {counted(found.messages, 'message')}.")
        if found.accuracy_without_repeated is not None:
            others = found.messages - found.repeated
            lines[-1] += f" Accuracy on the other {others:,}: {found.accuracy_without_repeated:.2%}"
    width = max(map(len, [*found.labels, "macro average"]))
    lines += ["", f"{'':{width}} precision   recall       F1   messages"]
    for label, *shares, count in zip(found.labels, found.precision, found.recall, found.f1, found.support):
        lines.append(f"{label:{width}}" + "".join(f" {share:8.2%}" for share in shares) + f"  {count:9,}")
    means = "".join(f" {share:8.2%}" for share in found.macro.values())
    return "\n".join([*lines, f"{'macro average':{width}}{means}  {found.messages:9,}"])


def _accuracies(found):
    """Return a line with the accuracy, and one with the baseline's where it was measured."""
    lines = []
    for name, each in (("accuracy", found), ("naive Bayes on word counts", found.naive_bayes)):
        if each:
            low, high = each.interval
            lines.append(f"{name + ':':27} {each.accuracy:7.2%}   (95 % interval: {low:.1%} to {high:.1%})")
    return lines


def _confusion(found):
    """Return the confusion matrix as text, with labels or their numbers as column heads.

    If neither fits in 80 characters, return the largest entries off the diagonal.
    """
    numbers = [str(number) for number in range(len(found.labels))]
    for heads, rows in (
        (found.labels, found.labels),
        (numbers, [f"{number} {label}" for number, label in zip(numbers, found.labels)]),
    ):
        cell = max(len(str(found.confusion.max())), *map(len, heads)) + 2
        width = max(map(len, rows))
        if width + cell * len(heads) <= 80:
            lines = [" " * width + "".join(f"{head:>{cell}}" for head in heads)]
            for row, counts in zip(rows, found.confusion):
                lines.append(f"{row:{width}}" + "".join(f"{count:{cell}}" for count in counts))
            return "\n".join(["number of messages with each label (row) and answer (column)", *lines])
    wrong = found.confusion - np.diag(found.confusion.diagonal())
    lines = ["the most frequent mistakes: messages, correct label, answer"]
    for at in np.argsort(-wrong, axis=None, kind="stable")[:FREQUENT]:
        label, answer = divmod(int(at), len(found.labels))
        if wrong[label, answer]:
            lines.append(f"{wrong[label, answer]:8,}  {found.labels[label]}, {found.labels[answer]}")
    return "\n".join(lines)


def _calibration(found):
    lines = [
        f"log-loss: {found.log_loss:.4f} nats; expected calibration error: {found.calibration_error:.2%}",
        "confidence    messages       mean        accuracy",
    ]
    for row in found.calibration:
        lines.append(
            f"{row['above']:4.0%} to {row['to']:4.0%}  {row['messages']:8,}  {row['confidence']:9.2%}  "
            f"{row['accuracy']:14.2%}"
        )
    return "\n".join(lines)


def _mistakes(mistakes):
    if not mistakes:
        return "no mistakes"
    answers, labels = (max(len(mistake[key]) for mistake in mistakes) for key in ("prediction", "label"))
    room = max(40, 80 - len(f"{'':{answers}} 0.0000 {'':{labels}}  "))
    lines = ["the most confident mistakes: answer, its probability, correct label, text"]
    for mistake in mistakes:
        text = " ".join(mistake["text"].split())
        lines.append(
            f"{mistake['prediction']:{answers}} {mistake['probability']:.4f} {mistake['label']:{labels}}  "
            + (text if len(text) <= room else text[: room - 1] + "…")
        )
    return "\n".join(lines)
