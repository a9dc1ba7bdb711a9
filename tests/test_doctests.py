"""The examples in public docstrings run and print the shown output."""

import doctest
import inspect

import pytest

import numpygpt


def documented(value):
    """Return the public name and its public methods that have examples."""
    methods = vars(value).values() if inspect.isclass(value) else ()
    found = [value, *(method for method in methods if not getattr(method, "__name__", "_").startswith("_"))]
    return [item for item in found if ">>>" in (getattr(item, "__doc__", None) or "")]


ITEMS = {item.__qualname__: item for name in numpygpt.__all__ for item in documented(getattr(numpygpt, name))}


@pytest.mark.parametrize("name", ITEMS)
def test_the_examples_of(name):
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in finder.find(ITEMS[name], name):
        assert runner.run(test, out=lambda text: pytest.fail(text)).failed == 0
