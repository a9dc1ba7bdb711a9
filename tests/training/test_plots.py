"""Curves show every evaluation, at its epoch and number of examples seen."""

import pandas as pd
import pytest

pytest.importorskip("matplotlib")

from numpygpt.training.plots import plot, plot_perplexity, save_plot

# Two epochs of three steps of four messages; losses at every second step, accuracies after each epoch.
HISTORY = pd.DataFrame(
    [
        {"epoch": 1, "step": 0, "examples": 4, "loss": 0.9, "train_loss": 0.8, "validation_loss": 0.85},
        {"epoch": 1, "step": 1, "examples": 8, "loss": 0.7},
        {"epoch": 1, "step": 2, "examples": 12, "loss": 0.6, "train_loss": 0.5, "validation_loss": 0.55},
        {"epoch": 1, "step": 2, "examples": 12, "train_accuracy": 0.75, "validation_accuracy": 0.5},
        {"epoch": 2, "step": 3, "examples": 16, "loss": 0.4},
        {"epoch": 2, "step": 4, "examples": 20, "loss": 0.3, "train_loss": 0.2, "validation_loss": 0.25},
        {"epoch": 2, "step": 5, "examples": 24, "loss": 0.2},
        {"epoch": 2, "step": 5, "examples": 24, "train_accuracy": 1.0, "validation_accuracy": 0.875},
    ]
)


def drawn(axes):
    """Return {label of each line: ([x], [y])}."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}


@pytest.fixture(scope="module")
def figure():
    figure = plot(HISTORY)
    figure.draw_without_rendering()  # places the upper axes
    return figure


def test_losses_and_accuracies_are_plotted_at_their_epochs(figure):
    loss, accuracy = map(drawn, figure.axes)
    at = pytest.approx([1 / 3, 1, 5 / 3])
    assert loss == {"training": (at, [0.8, 0.5, 0.2]), "validation": (at, [0.85, 0.55, 0.25])}
    assert accuracy == {"training": ([1, 2], [0.75, 1.0]), "validation": ([1, 2], [0.5, 0.875])}


def test_axes_and_lines_are_labelled_and_distinguishable(figure):
    assert [axes.get_ylabel() for axes in figure.axes] == ["cross-entropy, nats", "accuracy"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "epochs"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]
        training, validation = axes.get_lines()
        assert training.get_linestyle() != validation.get_linestyle()  # also in black and white


def test_the_upper_axis_counts_examples_seen(figure):
    for axes in figure.axes:
        (upper,) = axes.child_axes
        assert upper.get_xlabel() == "examples seen"
        assert upper.get_xlim() == pytest.approx([12 * end for end in axes.get_xlim()])
        assert upper.xaxis.get_transform().transform([24.0]) == pytest.approx([2.0])


def test_pretrainings_curve_plots_perplexity_against_millions_of_tokens():
    rows = [{"tokens": 500_000, "held_out_perplexity": 900.0}, {"tokens": 2_000_000, "held_out_perplexity": 30.0}]
    (axes,) = plot_perplexity(rows).axes
    (line,) = axes.get_lines()
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.5, 2.0], [900.0, 30.0])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("million tokens", "held-out perplexity")
    assert axes.get_yscale() == "log"


def test_save_plot_writes_the_figure(tmp_path):
    assert save_plot(tmp_path / "curves.png", plot, HISTORY)
    from matplotlib.image import imread

    picture = imread(tmp_path / "curves.png")
    assert picture.shape[:2] == (600, 1800) and picture[..., :3].std() > 0.05  # 12 by 4 inches, and not blank


@pytest.mark.parametrize("backend", ["agg", "svg", "module://matplotlib_inline.backend_inline"])
def test_a_notebook_shows_the_figure_with_any_backend(figure, backend):
    import matplotlib

    formatters = pytest.importorskip("IPython.core.formatters")
    with matplotlib.rc_context({"backend": backend}):
        shown, _ = formatters.DisplayFormatter().format(figure)
    assert shown["image/png"].startswith(b"\x89PNG") and len(shown["image/png"]) > 5000
