"""Arguments of any operation, described in a few words, for a check of its gradients.

x=(5,7)        a random float64 array of that shape; its gradient is checked
ids=(5,)<4     whole numbers from 0 to 3
lengths=[3,2]  an array of these numbers
n_head=2       any other value as it is
"""

import textwrap
from pathlib import Path

MARK = "# gradcheck:"
GRAMMAR = textwrap.indent(textwrap.dedent(__doc__.split("\n\n", 1)[1]).strip(), "    ")


def described_in(path):
    """The descriptions in a file: what follows `# gradcheck:` on lines that start so."""
    path = Path(path)
    # A file that is not UTF-8 gets its error where it runs.
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return [text for line in lines if line.startswith(MARK) for text in line.removeprefix(MARK).split()]
