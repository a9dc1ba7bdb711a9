"""The published models arrive whole, from servers that fail in every way, or one line says why not."""

import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numpygpt.checkpoints import published as models
from numpygpt.model.config import SIZES, read_config
from numpygpt.system import cache, downloads
from numpygpt.system.errors import InputError, Note
from numpygpt.text import sms
from tests.downloading import (
    FILES,
    MERGES,
    PUBLISHED,
    REPLIES,
    SPAM,
    VOCAB,
    WEIGHTS,
    Server,
    contents,
    gpt2,
    honest,
    one_line,
    redirect,
    visible,
    zipped,
)

PAGE = f"/gpt2/tree/{models._REVISION}"


def test_a_downloaded_model_is_complete_and_used_offline_afterwards(server, tmp_path):
    folder = models.fetch_model("gpt2")
    assert folder == tmp_path / "cache" / "gpt2"
    assert contents(folder) == FILES and read_config(folder / "config.json") == SIZES["gpt2"]
    assert visible(folder) == ["config.json", MERGES, WEIGHTS, VOCAB] and not list(folder.glob(".*.partial"))
    requests = list(server.requests)
    assert models.fetch_model("gpt2") == folder and server.requests == requests and len(requests) == 3


REPLIED = [  # what the server replies in turn, the last reply for good; and the error, if no file arrives
    ("breaks honest", ""),
    ("breaks breaks breaks breaks breaks breaks honest", ""),
    ("breaks ignores_range", ""),
    ("breaks no_length", ""),
    ("breaks 416 honest", ""),
    ("breaks another_part honest", ""),
    ("breaks unnamed_part honest", ""),
    ("breaks hangs_up 500 breaks no_http honest", ""),
    ("breaks wrong_bytes honest", ""),
    ("breaks_with_wrong_bytes honest", ""),
    ("500 503 honest", ""),
    ("hangs_up honest", ""),
    ("no_length", ""),
    ("length_nonsense", ""),
    ("chunks", ""),
    ("bad_chunks honest", ""),
    ("elsewhere_301", ""),
    ("elsewhere_302", ""),
    ("elsewhere_307", ""),
    ("to_bad_url honest", ""),
    ("404", "HTTP 404"),
    ("403", "HTTP 403"),
    ("416", "HTTP 416"),
    ("500", "HTTP 500"),
    ("wrong_bytes", "SHA-256 differs"),
    ("breaks_with_wrong_bytes", "broke after 100002 of 100003 bytes"),
    ("length_too_large", "100013 bytes, expected 100003"),
    ("length_too_small", "99993 bytes, expected 100003"),
    ("breaks_then_416", "HTTP 416"),
    ("login_page", "33 bytes, expected 100003"),
    ("login_page_no_length", "broke after 33 of 100003 bytes"),
    ("nothing", "0 bytes, expected 100003"),
    ("hangs_up", "no valid answer"),
    ("no_http", "no valid answer"),
    ("bad_chunks", "broke after 16 of 100003 bytes"),
    ("to_itself", "HTTP 302"),
    ("to_bad_port", "no valid answer"),
    ("to_file", "HTTP 302"),
]


@pytest.mark.parametrize("faults, reason", REPLIED)
def test_a_download_gives_the_correct_file_or_a_one_line_error(server, faults, reason):
    server.faults[gpt2(WEIGHTS)] = faults
    if reason:
        with pytest.raises(InputError) as raised:
            models.fetch_model("gpt2")
        folder, message = cache.cache_folder() / "gpt2", one_line(raised)
        assert reason in message and message.endswith(f"{folder}: {WEIGHTS} from {server.url + PAGE}")
        assert visible(folder) == ["config.json", MERGES, VOCAB]
        server.faults.clear()  # the bad server's files do not block a later download
    assert contents(models.fetch_model("gpt2")) == FILES


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(st.lists(st.sampled_from(sorted(REPLIES)), max_size=8), min_size=1, max_size=3))
def test_a_file_in_the_cache_is_correct_whatever_servers_do(server, monkeypatch, faults):
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("NUMPYGPT_HOME", home)
        for run in faults:
            server.faults[gpt2(WEIGHTS)] = " ".join([*run, "honest"])
            try:
                assert contents(models.fetch_model("gpt2")) == FILES
            except InputError as error:
                assert "\n" not in str(error) and WEIGHTS not in visible(Path(home) / "gpt2")
        server.faults.clear()
        assert contents(models.fetch_model("gpt2")) == FILES


def test_the_next_run_continues_a_partial_download(server):
    server.faults[gpt2(WEIGHTS)] = "breaks 404"
    with pytest.raises(InputError, match="HTTP 404"):
        models.fetch_model("gpt2")
    server.faults[gpt2(WEIGHTS)] = "login_page login_page_no_length 404"
    for _ in range(2):  # a false file does not remove the part already there
        with pytest.raises(InputError):
            models.fetch_model("gpt2")
    server.faults.clear()
    server.requests.clear()
    assert contents(models.fetch_model("gpt2")) == FILES
    assert server.asked(WEIGHTS) == [f"bytes={len(FILES[WEIGHTS]) // 2}-"] and len(server.requests) == 1


@pytest.mark.parametrize(
    "partial, requests",
    [(FILES[WEIGHTS], 0), (bytes(10), 2), (bytes(len(FILES[WEIGHTS])), 1), (bytes(len(FILES[WEIGHTS]) + 1), 1)],
    ids=["whole", "wrong start", "wrong", "too long"],
)
def test_a_partial_file_is_used_or_replaced(server, partial, requests):
    folder = models.fetch_model("gpt2")
    (folder / WEIGHTS).unlink()
    path = folder / f".{WEIGHTS}.{PUBLISHED[WEIGHTS][1][:8]}.partial"
    path.write_bytes(partial)
    server.requests.clear()
    assert contents(models.fetch_model("gpt2")) == FILES and len(server.requests) == requests and not path.exists()


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[::-1], lambda content: b""])
def test_a_damaged_file_is_replaced_only_by_the_correct_one(server, damage):
    folder = models.fetch_model("gpt2")
    damaged = damage(FILES[WEIGHTS])
    (folder / WEIGHTS).write_bytes(damaged)
    server.faults[gpt2(WEIGHTS)] = "wrong_bytes"
    with pytest.raises(InputError, match=f"differs.*{WEIGHTS} from "):
        models.fetch_model("gpt2")
    assert (folder / WEIGHTS).read_bytes() == damaged
    server.faults.clear()
    server.requests.clear()
    assert contents(models.fetch_model("gpt2")) == FILES
    assert all(path.endswith(WEIGHTS) for _, path, _ in server.requests)  # intact files were not downloaded again


def test_a_proxy_in_the_environment_is_used(server, monkeypatch):
    monkeypatch.setattr(downloads, "_opener", downloads._opener.__wrapped__)
    monkeypatch.setenv("http_proxy", server.url)
    server.contents["http://elsewhere.invalid/x"] = b"by proxy"
    assert downloads.get("http://elsewhere.invalid/x", 100) == b"by proxy"


def test_a_config_of_another_size_is_removed(server):
    folder = models.fetch_model("gpt2")
    for text in ["{", (folder / "config.json").read_text().replace("768", "1024")]:
        (folder / "config.json").write_text(text)
        assert read_config(models.fetch_model("gpt2") / "config.json") == SIZES["gpt2"]


@pytest.mark.parametrize("fault", ["404", "500", "wrong_bytes", "breaks", "login_page"])
def test_the_tokenizer_comes_from_openai_if_the_hub_fails(server, fault):
    server.faults |= {gpt2(VOCAB): fault, gpt2(MERGES): fault}
    server.contents |= {"/openai/encoder.json": FILES[VOCAB], "/openai/vocab.bpe": FILES[MERGES]}
    assert contents(models.fetch_model("gpt2")) == FILES


def test_the_offline_error_names_the_files_to_provide_and_these_suffice(server, monkeypatch):
    server.shutdown()
    server.server_close()
    monkeypatch.setattr(downloads, "_PAUSES", (1000,))  # without a network there is no pause
    folder = cache.cache_folder() / "gpt2"
    with pytest.raises(InputError) as raised:
        models.fetch_model("gpt2")
    message = one_line(raised)
    assert "cannot be reached" in message and "likewise" in message and len(message) < 400
    assert message.endswith(f"put these files into {folder}: {VOCAB}, {MERGES}, {WEIGHTS} from {server.url + PAGE}")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    assert models.fetch_model("gpt2") == folder
    with pytest.raises(InputError) as raised:
        sms.fetch_sms()
    path = cache.cache_folder() / "sms" / "SMSSpamCollection"
    assert str(path) in one_line(raised) and sms._URLS[0] in str(raised.value)
    path.write_bytes(SPAM)
    assert sms.fetch_sms() == path


LARGER = "/gpt2-xl/resolve/main/" + WEIGHTS


def linked(size, sha256):
    """Return the hub's reply for a large file: a redirect whose headers have its size and hash."""
    return lambda *_: redirect(302, "/elsewhere", X_Linked_Size=size, X_Linked_Etag=f'"{sha256}"')


def test_a_larger_model_is_verified_by_the_hubs_size_and_hash(server):
    server.contents[LARGER] = b""
    server.replies["linked"] = linked(*PUBLISHED[WEIGHTS])
    server.faults |= {LARGER: "linked", "/elsewhere": "breaks honest"}
    with pytest.warns(Note, match="gpt2-xl: numpygpt knows no fixed revision of model.safetensors.* main "):
        folder = models.fetch_model("gpt2-xl")
    assert contents(folder) == FILES and read_config(folder / "config.json") == SIZES["gpt2-xl"]
    server.requests.clear()
    assert models.fetch_model("gpt2-xl") == folder and not server.requests


@pytest.mark.filterwarnings("ignore::numpygpt.system.errors.Note")
@pytest.mark.parametrize(
    "reply, reason",
    [
        (linked(PUBLISHED[WEIGHTS][0], "0" * 64), "SHA-256 differs"),
        (linked(PUBLISHED[WEIGHTS][0] + 1, PUBLISHED[WEIGHTS][1]), "expected 100004"),
        (linked("", PUBLISHED[WEIGHTS][1]), "does not say"),
        (linked(PUBLISHED[WEIGHTS][0], "d41d8cd9"), "does not say"),
        (REPLIES["elsewhere_302"], "does not say"),
        (honest, "does not say"),
        (REPLIES["404"], "HTTP 404"),
        (REPLIES["500"], "HTTP 500"),
    ],
)
def test_a_larger_model_that_cannot_be_verified_is_refused(server, reply, reason):
    server.contents[LARGER], server.replies["one"] = FILES[WEIGHTS], reply
    server.faults[LARGER] = "one"
    with pytest.raises(InputError, match=reason) as raised:
        models.fetch_model("gpt2-xl")
    assert one_line(raised).endswith(f"{WEIGHTS} from {server.url}/gpt2-xl/tree/main") and WEIGHTS not in visible(
        cache.cache_folder() / "gpt2-xl"
    )


FETCH = """
import json, sys
from numpygpt.checkpoints import published
published._HUB = published._OPENAI = sys.argv[1]
published._PUBLISHED = json.loads(sys.argv[2])
print(published.fetch_model("gpt2"))
"""


def fetching(server):
    """Start another Python process that fetches gpt2."""
    command = [sys.executable, "-c", FETCH, server.url, json.dumps(PUBLISHED)]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_second_process_waits_for_the_first_ones_download(server):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(content, start):
        begun.set()
        go_on.wait(10)
        return honest(content, start)

    server.replies["slowly"], server.faults[gpt2(WEIGHTS)] = slowly, "slowly"
    first = fetching(server)
    assert begun.wait(20)
    second = fetching(server)
    assert "waiting for another process" in second.stderr.readline()
    go_on.set()
    for process in (first, second):
        output, errors = process.communicate(timeout=20)
        assert process.returncode == 0 and contents(Path(output.strip())) == FILES, errors
    assert sorted(path.rpartition("/")[2] for _, path, _ in server.requests) == sorted(FILES)


def test_a_killed_processs_download_is_continued(server):
    folder, go_on = cache.cache_folder() / "gpt2", threading.Event()

    def half(content, start):
        def body():
            yield content[:50_000]
            go_on.wait(20)

        return 200, body(), {"Content-Length": len(content)}

    server.replies["half"], server.faults[gpt2(WEIGHTS)] = half, "half honest"
    process = fetching(server)
    partial = folder / f".{WEIGHTS}.{PUBLISHED[WEIGHTS][1][:8]}.partial"
    while not (partial.exists() and partial.stat().st_size > 0):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=20)
    go_on.set()
    had = partial.stat().st_size
    assert WEIGHTS not in visible(folder) and contents(models.fetch_model("gpt2")) == FILES
    assert server.asked(WEIGHTS) == [None, f"bytes={had}-"]


def test_pinned_hashes_are_those_of_the_real_files(shared, monkeypatch, tmp_path):
    """Check published lengths and hashes: of the messages by a download, of the tokenizer's files by content."""
    real = (shared / "data" / "SMSSpamCollection").read_bytes()
    monkeypatch.setenv("NUMPYGPT_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        server.contents["/real.zip"] = zipped(SMSSpamCollection=real)
        monkeypatch.setattr(sms, "_URLS", (server.url + "/real.zip",))
        assert sms.fetch_sms().read_bytes() == real
        server.shutdown()
    tokenizer = [path.read_bytes() for path in (shared / "tiktoken").iterdir()]
    found = {(len(content), hashlib.sha256(content).hexdigest()) for content in tokenizer}
    assert found == {models._PUBLISHED[VOCAB], models._PUBLISHED[MERGES]}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_each_download_prints_one_line_and_live_progress_on_a_terminal(server, monkeypatch, capsys):
    server.faults[gpt2(WEIGHTS)] = "breaks honest"
    folder = models.fetch_model("gpt2")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(name in line for name, line in zip(FILES, lines))
    for name in FILES:
        (folder / name).unlink()
    monkeypatch.setattr(sys, "stderr", Terminal())
    models.fetch_model("gpt2")
    line = sys.stderr.getvalue().split("\r\x1b[K")[-2]
    assert re.fullmatch(rf"{WEIGHTS} 100% \| [\d,]+ kB/s \| 0 s left", line) and sys.stderr.getvalue().endswith(
        "\r\x1b[K"
    )
