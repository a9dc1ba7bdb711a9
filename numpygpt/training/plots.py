"""The curves of a run, where matplotlib is installed: fine-tuning's as the book draws them; pretraining's perplexity."""


def plot_curves(folder, history):
    """Write loss.png and accuracy.png into `folder` from the rows of its history; returns their names, [] without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return []
    names = []
    for what in ("loss", "accuracy"):
        rows = [row for row in history if f"validation_{what}" in row]
        figure = Figure(figsize=(6, 4), layout="constrained")
        FigureCanvasAgg(figure)
        epochs = figure.subplots()
        steps_per_epoch = max(row["step"] for row in history) + 1
        steps_per_epoch /= max(row["epoch"] for row in history)
        at = [(row["step"] + 1) / steps_per_epoch for row in rows]
        epochs.plot(at, [row[f"train_{what}"] for row in rows], label="training", marker=".")
        epochs.plot(at, [row[f"validation_{what}"] for row in rows], label="validation", linestyle="-.", marker=".")
        epochs.set_xlabel("epochs")
        epochs.set_ylabel("cross-entropy, nats" if what == "loss" else "accuracy")
        epochs.legend()
        per_epoch = rows[-1]["examples"] / at[-1]
        examples = epochs.secondary_xaxis("top", functions=(lambda x, k=per_epoch: x * k, lambda x, k=per_epoch: x / k))
        examples.set_xlabel("examples seen")
        figure.savefig(folder / f"{what}.png", dpi=150)
        names.append(f"{what}.png")
    return names


def plot_perplexity(path, history):
    """Draw held-out perplexity against tokens from the rows of a pretraining run, if matplotlib is installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([row["tokens"] / 1e6 for row in history], [row["held_out_perplexity"] for row in history], marker=".")
    axes.set_yscale("log")
    axes.set_xlabel("million tokens")
    axes.set_ylabel("held-out perplexity")
    figure.savefig(path, dpi=150)
