"""Download the UCI SMS Spam Collection into the cache folder."""

import hashlib
import io
import zipfile
import zlib

from ..system.cache import cache_folder, exclusive, is_verified
from ..system.downloads import Unavailable, first_of, get
from ..system.errors import InputError
from ..system.files import write_file

_URLS = (
    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
)
_NAME = "SMSSpamCollection"
_SIZE = 477_907  # bytes
_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"
_LONGEST_ZIP = 5_000_000  # bytes

# All that zipfile raises for a damaged archive.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, ValueError, EOFError, OSError)


def fetch_sms():
    """Return the path of the verified SMSSpamCollection. Download it if it is missing.

    If the download fails, raises InputError, which says which file to put where.
    """
    path = cache_folder() / "sms" / _NAME
    if is_verified(path, _SIZE, _SHA256):
        return path
    with exclusive(path.parent):
        if not is_verified(path, _SIZE, _SHA256):  # another process may have downloaded it meanwhile
            try:
                content = first_of(_URLS, lambda url: _unzipped(get(url, _LONGEST_ZIP)))
            except Unavailable as error:
                raise InputError(
                    f"sms: {path} is missing or damaged, and the download failed ({error}); "
                    f"unpack {_URLS[0]} and put {_NAME} there"
                ) from None
            write_file(path, content)
    return path


def _unzipped(content):
    """Return the messages' file from the zip archive. Never unpack more bytes than it should have, or another file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo(_NAME).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Unavailable(f"it compresses {_NAME} with an unsupported method")
            with archive.open(_NAME) as member:
                unpacked = member.read(_SIZE + 1)
    except _ZIP_ERRORS:
        raise Unavailable(f"it sends no zip archive with {_NAME}") from None
    if hashlib.sha256(unpacked).hexdigest() != _SHA256:
        raise Unavailable(f"its {_NAME} is not the published file (the SHA-256 differs)")
    return unpacked
