"""Plots of a run's curves, where matplotlib is installed."""

import io
from functools import partial

from ..system.errors import InputError


def plot(history):
    """Plot losses and accuracies against epochs and examples seen, as in the book.

    Parameters
    ----------
    history : pandas.DataFrame
        The history that `fine_tune` returns.

    Returns
    -------
    matplotlib.figure.Figure
        Losses (in nats) on the left, accuracies on the right. A notebook shows it as a cell's last line, whatever
        matplotlib's backend; `figure.savefig(path)` writes it.

    Raises
    ------
    InputError
        If `history` is not a history with evaluations, or matplotlib is not installed.

    Examples
    --------
    >>> import numpygpt, pandas
    >>> numpygpt.plot(pandas.DataFrame())
    Traceback (most recent call last):
    numpygpt.system.errors.InputError: history: expected the DataFrame that fine_tune returned, with its evaluations
    """
    measured = {f"{part}_{kind}" for part in ("train", "validation") for kind in ("loss", "accuracy")}
    if not {"epoch", "step", "examples", *measured} <= set(getattr(history, "columns", ())) or not len(history):
        raise InputError("history: expected the DataFrame that fine_tune returned, with its evaluations")
    figure = _figure(12)
    steps_per_epoch = (history["step"].max() + 1) / history["epoch"].max()
    examples_per_epoch = history["examples"].max() / history["epoch"].max()
    kinds = {"loss": "cross-entropy, nats", "accuracy": "accuracy"}
    for axes, (kind, label) in zip(figure.subplots(1, 2), kinds.items()):
        rows = history.dropna(subset=[f"validation_{kind}"])
        epochs = (rows["step"] + 1) / steps_per_epoch
        axes.plot(epochs, rows[f"train_{kind}"], label="training", marker=".")
        axes.plot(epochs, rows[f"validation_{kind}"], label="validation", linestyle="-.", marker=".")
        axes.set_xlabel("epochs")
        axes.set_ylabel(label)
        axes.legend()
        there_and_back = (lambda x: x * examples_per_epoch, lambda x: x / examples_per_epoch)
        axes.secondary_xaxis("top", functions=there_and_back).set_xlabel("examples seen")
    return figure


def plot_perplexity(history):
    """Return a figure of held-out perplexity against tokens, from the rows of a pretraining run."""
    figure = _figure(6)
    axes = figure.subplots()
    axes.plot([row["tokens"] / 1e6 for row in history], [row["held_out_perplexity"] for row in history], marker=".")
    axes.set_yscale("log")
    axes.set_xlabel("million tokens")
    axes.set_ylabel("held-out perplexity")
    return figure


def save_plot(path, draw, history):
    """Write draw(history) to the file `path`. Return whether it was written: False without matplotlib."""
    try:
        figure = draw(history)
    except InputError:
        return False
    figure.savefig(path, dpi=150)
    return True


def _figure(width):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("plots need matplotlib. Install it: pip install matplotlib") from None
    figure = Figure(figsize=(width, 4), layout="constrained")
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]  # a notebook calls it
    return figure


def _png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
