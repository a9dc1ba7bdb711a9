import pytest

import numpygpt

MESSAGE = "Your parcel is held. Pay the fee now and your parcel is sent."


@pytest.fixture(scope="session")
def gpt():
    return numpygpt.load("mini")


@pytest.fixture(scope="session")
def clf(gpt):
    return numpygpt.Classifier(gpt, ["ham", "spam"], "all", pad="end", position="last")


@pytest.fixture(scope="session")
def trace(clf):
    return clf.trace(MESSAGE, "spam")
