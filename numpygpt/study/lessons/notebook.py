"""A lesson as a notebook: JSON of the format nbformat 4, without outputs."""

import json

KINDS = {"markdown": "markdown", "python": "code", "exercise": "code"}


def notebook(lesson, key=False) -> dict:
    """Return a lesson's notebook, JSON-able. With `key`, its exercises are solved."""
    cells = [_cell(f"cell-{number}", cell) for number, cell in enumerate(lesson.cells(key), 1)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def text(lesson, key=False) -> str:
    """Return the text of a lesson's .ipynb file."""
    return json.dumps(notebook(lesson, key), indent=1, ensure_ascii=False) + "\n"


def _cell(name, cell):
    tags = {"tags": ["exercise"]} if cell.kind == "exercise" else {}
    found = {"cell_type": KINDS[cell.kind], "id": name, "metadata": tags, "source": cell.text.splitlines(keepends=True)}
    return found | ({"execution_count": None, "outputs": []} if found["cell_type"] == "code" else {})
