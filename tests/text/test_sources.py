"""A name selects a file or a bundled data set, and its split."""

from numpygpt.text.sources import SAMPLE, find_messages
from numpygpt.text.split import SHARES, shares


def test_a_file_takes_precedence_over_a_data_set_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_messages("sample") == SAMPLE and shares(SAMPLE) != SHARES
    (tmp_path / "sample").write_text("ham\tHi\n")
    assert find_messages("sample").resolve() == tmp_path / "sample"
    assert shares(find_messages("sample")) == SHARES == (0.7, 0.1)
