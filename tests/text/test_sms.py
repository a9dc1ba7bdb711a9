"""The UCI messages are downloaded completely from any valid archive, and bad archives are refused."""

import zipfile

import pytest

from numpygpt.system.errors import InputError
from numpygpt.text import sms
from tests.downloading import SPAM, one_line, visible, zipped

GOOD_ZIP = zipped(readme="who made it", SMSSpamCollection=SPAM)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_downloaded_messages_are_used_offline_afterwards(server, compression):
    server.contents["/one.zip"] = zipped(compression, readme="who made it", SMSSpamCollection=SPAM)
    server.faults["/one.zip"] = "breaks 500 honest"
    path = sms.fetch_sms()
    assert path.read_bytes() == SPAM and visible(path.parent) == ["SMSSpamCollection"]
    server.requests.clear()
    assert sms.fetch_sms() == path and not server.requests
    path.write_bytes(SPAM[::-1])
    assert sms.fetch_sms().read_bytes() == SPAM


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"<html>Welcome to the hotel</html>",
        GOOD_ZIP[:-30],
        GOOD_ZIP[:100] + b"\0\0\0\0" + GOOD_ZIP[104:],
        zipped(readme="who made it"),
        zipped(**{"../SMSSpamCollection": SPAM, "/SMSSpamCollection": SPAM}),
        zipped(SMSSpamCollection=SPAM[:-1]),
        zipped(SMSSpamCollection=SPAM + b"\n"),
        zipped(SMSSpamCollection=bytes(5_000_000)),  # a small archive that holds a large file
        zipped(zipfile.ZIP_BZIP2, SMSSpamCollection=SPAM),
        GOOD_ZIP + bytes(10_000),
    ],
    ids=["empty", "page", "cut", "damaged", "lacking", "paths", "short", "long", "bomb", "bzip2", "huge"],
)
def test_a_bad_archive_leaves_no_file_and_the_second_source_is_used(server, tmp_path, bad):
    server.contents["/one.zip"] = bad
    with pytest.raises(InputError) as raised:
        sms.fetch_sms()
    one_line(raised)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in files] == [".lock"]
    server.contents["/two.zip"] = GOOD_ZIP
    assert sms.fetch_sms().read_bytes() == SPAM
