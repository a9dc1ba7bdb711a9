"""Download the published GPT-2 models by name into the cache folder."""

import warnings

from ..model.config import SIZES, config_json, read_config
from ..system.cache import cache_folder, exclusive, is_verified
from ..system.downloads import Unavailable, announced, download, first_of
from ..system.errors import InputError, Note
from ..system.files import write_file

_HUB = "https://huggingface.co/openai-community"
# OpenAI serves identical copies of the tokenizer's two files.
_OPENAI = "https://openaipublic.blob.core.windows.net/gpt-2/models/124M"
_REVISION = "607a30d783dfa663caf39e06633721c8d4cfcd7e"  # of gpt2; the larger models have no fixed revision here

# (bytes, SHA-256) of gpt2's files at that revision. All sizes share its tokenizer.
_PUBLISHED = {
    "vocab.json": (1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    "merges.txt": (456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
    "model.safetensors": (548_105_171, "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"),
}
_AT_OPENAI = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}


def fetch_model(name):
    """Return the folder of a published GPT-2: config.json, model.safetensors, vocab.json, merges.txt.

    name   one of model.config.SIZES

    Missing files are downloaded. Complete files need no network. A damaged file is replaced once its replacement is
    verified. The hashes of the larger models' weights are not known here: a download is verified by the hash that the
    hub announces, and an existing file is used unverified. If a download fails, raises InputError, which says which
    files to put where.
    """
    folder = cache_folder() / name
    if not _lacking(folder, name) and _has_config(folder, name):
        return folder
    with exclusive(folder):
        if not _has_config(folder, name):
            write_file(folder / "config.json", config_json(SIZES[name]))
        try:
            for file in _lacking(folder, name):  # checked again: another process may have downloaded it meanwhile
                if not _published(name, file):
                    warnings.warn(
                        f"{name}: numpygpt knows no fixed revision of {file}, so it downloads today's version from "
                        f"the branch main of {_HUB}/{name} and verifies the SHA-256 announced there",
                        Note,
                        stacklevel=2,
                    )
                urls = _urls(name, file)
                published = _published(name, file) or first_of(urls, announced)
                download(folder / file, urls, *published)
        except Unavailable as error:
            pages: dict = {}  # of the hub, with the files that each lists
            for file in _lacking(folder, name):
                pages.setdefault(
                    _urls(name, file)[0].removesuffix(f"/{file}").replace("/resolve/", "/tree/"), []
                ).append(file)
            lacking = " and ".join(f"{', '.join(files)} from {page}" for page, files in pages.items())
            raise InputError(
                f"{name}: the download failed ({error}). Run the command again to resume it, or put these files into "
                f"{folder}: {lacking}"
            ) from None
    return folder


def _lacking(folder, name):
    """Return the names of the files that are missing in the folder or differ from the published ones."""
    lacking = []
    for file in _PUBLISHED:
        published = _published(name, file)
        if not (is_verified(folder / file, *published) if published else (folder / file).is_file()):
            lacking.append(file)
    return lacking


def _published(name, file):
    """Return (bytes, SHA-256) of a model's file, or None if they are not known here."""
    return _PUBLISHED[file] if name == "gpt2" or file in _AT_OPENAI else None


def _urls(name, file):
    """Return the URLs of a model's file, the best first."""
    if _published(name, file) is None:
        return [f"{_HUB}/{name}/resolve/main/{file}"]
    urls = [f"{_HUB}/gpt2/resolve/{_REVISION}/{file}"]
    if file in _AT_OPENAI:
        urls.append(f"{_OPENAI}/{_AT_OPENAI[file]}")
    return urls


def _has_config(folder, name):
    try:
        return read_config(folder / "config.json") == SIZES[name]
    except (InputError, OSError):
        return False
