"""Which file a name stands for, and how its messages are split."""

from numpygpt.text.sources import SAMPLE, find_messages
from numpygpt.text.split import SHARES, shares


def test_a_file_goes_before_a_data_set_of_its_name_and_is_split_as_the_book_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_messages("sample") == SAMPLE and shares(SAMPLE) != SHARES
    (tmp_path / "sample").write_text("ham\tHi\n")
    assert find_messages("sample").resolve() == tmp_path / "sample"
    assert shares(find_messages("sample")) == SHARES == (0.7, 0.1)
