"""The server answers one request at a time, and refuses invalid requests and other sites' pages in one JSON line."""

import http.client
import json
import queue
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from unittest.mock import Mock

import numpy as np
import pytest

from numpygpt.api.run import load_run
from numpygpt.explain import server as server_module
from numpygpt.explain.because import Teachers
from numpygpt.explain.served import Served
from numpygpt.explain.server import LIMIT, Server
from numpygpt.text.split import SplitSet


@contextmanager
def running(served):
    server = Server(served, port=0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def served(made):
    return Served(load_run(made / "run"), made / "run")


@pytest.fixture(scope="module")
def server(served):
    with running(served) as server:
        yield server


def connected(server):
    return http.client.HTTPConnection(*server.server_address, timeout=60)


def asked(server, path, request=None, method=None, **headers):
    """Send a request (JSON, bytes, or None for a GET). Return (status, answer, headers)."""
    connection = connected(server)
    body = request if isinstance(request, (bytes, type(None))) else json.dumps(request).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    connection.request(method or ("GET" if body is None else "POST"), path, body, kind | headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if content.startswith(b"{") else content.decode(), response.headers


def test_the_servers_answers_equal_the_classifiers(server, served):
    clf, text = served.clf, "win a prize"
    status, answer, _ = asked(server, "/api/classify", {"text": text})
    row = clf.predict([text]).iloc[0]
    assert status == 200 and answer["label"] == row["label"]
    for label, logit in zip(clf.labels, clf.logits([text])[0]):
        assert np.isclose(answer["probabilities"][label], row[label], rtol=1e-6)
        assert answer["logits"][label] == float(logit)
    assert answer["margin"] == answer["logits"][answer["label"]] - answer["logits"][answer["runner_up"]] >= 0
    assert "".join(answer["tokens"]) == text + "<|endoftext|>" and answer["padding"] == 1 and answer["note"] is None


@pytest.mark.parametrize("baseline", [{}, {"baseline": "zero"}], ids=str)
def test_the_servers_explanation_equals_the_classifiers(server, served, baseline):
    status, answer, _ = asked(server, "/api/explain", {"text": "win a prize"} | baseline)
    found = served.clf.explain("win a prize", **baseline)
    assert status == 200 and answer["complete"] and answer["baseline"] == found.baseline
    assert answer["integrated"] == found.integrated.tolist()
    assert answer["gradient_input"] == found.gradient_input.tolist()
    assert answer["deletion"] == [*found.deletion.tolist()[:-1], None]
    assert answer["sum"] == pytest.approx(answer["margin"] - answer["baseline_margin"] + answer["difference"])


def test_the_curve_ends_at_the_answer(server):
    curve = asked(server, "/api/curve", {"text": "win a prize"})[1]
    answer = asked(server, "/api/classify", {"text": "win a prize"})[1]
    first = asked(server, "/api/classify", {"text": curve["tokens"][0]})[1]
    for label, points in curve["probabilities"].items():
        assert points[-1] == pytest.approx(answer["probabilities"][label], rel=1e-4)
        assert points[0] == pytest.approx(first["probabilities"][label], rel=1e-4)
        assert len(points) == len(curve["tokens"]) - 1


def test_the_server_evaluates_the_runs_test_set(server, served):
    expected = served.clf.evaluate(*zip(*SplitSet(served.test, served.clf.labels)))
    status, found, _ = asked(server, "/api/evaluation")
    assert status == 200 and found["confusion"] == expected.confusion.tolist() and found["naive_bayes"]
    examples = asked(server, "/api/model")[1]["examples"]
    assert {(text, label) for label, texts in examples.items() for text in texts} <= set(
        SplitSet(served.test, served.clf.labels)
    )


def test_a_run_without_a_test_set_is_served(made):
    with running(Served(load_run(made / "run"), made / "model")) as server:
        model = asked(server, "/api/model")[1]
        assert model["examples"] == {} and not model["evaluation"]
        assert "no test.csv" in asked(server, "/api/evaluation")[1]["error"]


def test_a_long_message_is_truncated_with_a_note(server, served):
    answer = asked(server, "/api/classify", {"text": "win " * 500})[1]
    most = served.clf.config.n_positions
    assert len(answer["tokens"]) == most
    assert re.fullmatch(rf"Cut: this run reads the first {most - 1} of the message's [\d,]+ tokens\.", answer["note"])


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "é \ud800 \x00 😀", "<|endoftext|>"])
def test_any_text_gets_an_answer(server, text):
    assert asked(server, "/api/explain", {"text": text})[0] == 200


@pytest.mark.parametrize(
    "request_, said",
    [
        (b"text", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"", "not JSON"),
        (["text"], "an object"),
        ({"baseline": "zero"}, 'a "text"'),
        ({"text": 5}, "text must be a string"),
        ({"text": "a", "eggs": 1}, 'unknown field "eggs"; use text, baseline'),
        ({"text": "a", "baseline": "mean"}, "baseline must be one of padding, zero"),
        ({"text": "a", "baseline": ["zero"]}, "baseline must be one of"),
        ({"text": " \n"}, "no text to classify"),
    ],
)
def test_an_invalid_message_is_refused_with_a_reason(server, request_, said):
    status, answer, _ = asked(server, "/api/explain", request_)
    assert status == 400 and list(answer) == ["error"] and said.replace("an object", "JSON object") in answer["error"]


@pytest.mark.parametrize(
    "method, path, body, headers, status, said",
    [
        ("GET", "/api/classify", None, {}, 405, "takes POST, not GET"),
        ("POST", "/api/model", b"{}", {}, 405, "takes GET, not POST"),
        ("POST", "/", b"{}", {}, 405, "takes GET, not POST"),
        ("DELETE", "/api/model", None, {}, 405, "DELETE"),
        ("GET", "/../etc/passwd", None, {}, 404, "does not exist; use /, /api/"),
        ("POST", "/api/page", b"{}", {}, 404, "does not exist; use /, /api/"),
        ("POST", "/api/classify", b'{"text": "a"}', {"Content-Type": "text/plain"}, 415, "application/json"),
        ("POST", "/api/classify", b"a" * (LIMIT + 1), {}, 413, "65,537 bytes"),
        ("POST", "/api/classify", None, {"Content-Length": "many"}, 411, "Content-Length"),
        ("POST", "/api/classify", None, {"Content-Length": "-1"}, 411, "Content-Length"),
        ("POST", "/api/classify", None, {"Transfer-Encoding": "chunked"}, 411, "Content-Length"),
    ],
)
def test_an_invalid_http_request_is_refused_with_its_status(server, method, path, body, headers, status, said):
    connection = connected(server)
    connection.putrequest(method, path, skip_accept_encoding=True)
    content = {"Content-Type": "application/json"} | ({"Content-Length": str(len(body))} if body else {})
    for name, value in (content | headers).items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    assert response.status == status and said in json.loads(response.read())["error"]
    connection.close()


def test_a_newline_after_the_body_does_not_cancel_the_request(server):
    connection = connected(server)
    headers = {"Content-Type": "application/json", "Content-Length": "15"}
    connection.request("POST", "/api/classify", b'{"text": "win"}\r\n', headers)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_body_of_the_maximum_size_is_read(server):
    body = json.dumps({"text": "a" * (LIMIT - 12)}).encode()
    assert len(body) == LIMIT and asked(server, "/api/classify", body)[0] == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:80", "[::1]:8000", "10.0.0.7:8000"])
def test_local_host_names_and_addresses_are_accepted(server, host):
    assert asked(server, "/api/model", Host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "a b", "[", ""])
@pytest.mark.parametrize("path", ["/", "/api/model", "/api/classify"])
def test_a_foreign_host_name_is_refused(server, host, path):
    status, answer, _ = asked(server, path, {"text": "a"} if path == "/api/classify" else None, Host=host)
    assert status == 403 and "has another name than" in answer["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://{host}", "http://localhost:1", ""])
def test_only_the_servers_own_page_may_send_requests(server, origin):
    host = "{}:{}".format(*server.server_address)
    text = {"text": "win"}
    assert asked(server, "/api/classify", text, Origin=f"http://{host}")[0] == 200
    assert asked(server, "/api/classify", text, Origin=origin.format(host=host))[0] == 403


def test_the_page_may_only_connect_to_its_server(server):
    status, page, headers = asked(server, "/")
    assert status == 200 and page.startswith("<!doctype html>") and headers.get_content_type() == "text/html"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|src=|innerHTML", page)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert asked(server, "/", method="HEAD")[1] == ""


def test_a_hundred_concurrent_requests_get_their_own_answers(server, served):
    texts = [f"{'win ' * (n % 5)}prize {n}" for n in range(100)]
    expected = [logits[0] for logits in map(served.clf.logits, [[text] for text in texts])]
    begin = threading.Barrier(100)

    def ask(text):
        begin.wait()
        return asked(server, "/api/classify", {"text": text})

    with ThreadPoolExecutor(100) as pool:
        for (status, answer, _), text, logits in zip(pool.map(ask, texts), texts, expected):
            assert status == 200 and "".join(answer["tokens"][:-1]) == text
            assert list(answer["logits"].values()) == logits.tolist()


class Slow:
    """A run whose answers take as long as the test wants."""

    def __init__(self):
        self.begun, self.left, self.go = threading.Semaphore(0), threading.Event(), threading.Event()
        self.texts = []

    def classify(self, text):
        self.texts.append(text)
        self.begun.release()
        self.go.wait(60)
        return {"text": text}

    def explain(self, text):
        self.begun.release()
        try:
            while True:
                self.going()
        finally:
            self.left.set()


def test_requests_beyond_the_queue_are_refused(monkeypatch):
    monkeypatch.setattr(server_module, "WAITING", 1)
    slow = Slow()
    with running(slow) as server, ThreadPoolExecutor() as pool:
        first = pool.submit(asked, server, "/api/classify", {"text": "first"})
        slow.begun.acquire()
        status, answer, headers = asked(server, "/api/classify", {"text": "second"})
        assert status == 503 and "waiting" in answer["error"] and headers["Retry-After"]
        slow.go.set()
        assert first.result()[:2] == (200, {"text": "first"})
        assert asked(server, "/api/classify", {"text": "third"})[0] == 200


def test_a_request_waits_for_the_previous_answer():
    slow = Slow()
    with running(slow) as server, ThreadPoolExecutor() as pool:
        first = pool.submit(asked, server, "/api/classify", {"text": "first"})
        slow.begun.acquire()
        second = pool.submit(asked, server, "/api/classify", {"text": "second"})
        while server.places._value > server_module.WAITING - 2:  # until the request waits for its turn
            time.sleep(0.01)
        assert not slow.begun.acquire(timeout=0.2)
        slow.go.set()
        assert first.result()[1] == {"text": "first"} and second.result()[1] == {"text": "second"}


def test_the_model_stops_when_the_client_disconnects():
    slow = Slow()
    with running(slow) as server:
        connection = connected(server)
        connection.request("POST", "/api/explain", b'{"text": "a"}', {"Content-Type": "application/json"})
        slow.begun.acquire()
        connection.close()
        assert slow.left.wait(60)
        slow.go.set()
        assert asked(server, "/api/classify", {"text": "next"})[0] == 200 and slow.texts == ["next"]


def test_an_internal_error_is_a_500_with_a_printed_traceback(monkeypatch):
    printed = queue.Queue()
    monkeypatch.setattr(ThreadingHTTPServer, "handle_error", lambda *_: printed.put(sys.exc_info()[1]))
    with running(object()) as server:
        status, answer, _ = asked(server, "/api/model")
    assert status == 500 and "in its terminal" in answer["error"]
    assert isinstance(printed.get(timeout=60), AttributeError)


def test_because_names_the_training_messages_or_says_why_it_cannot(made, server):
    status, answer, _ = asked(server, "/api/because", {"text": "win a prize"})
    assert status == 400 and "are not known" in answer["error"]
    clf = load_run(made / "run")
    training = [("win a prize", "spam"), ("home soon", "ham")]
    with running(Served(clf, made / "run", lambda: Teachers(clf, training, method="head"))) as other:
        status, answer, _ = asked(other, "/api/because", {"text": "win a prize"})
    found = Teachers(clf, training, method="head").because("win a prize")
    assert status == 200 and answer["label"] == found.label
    scores = [message["score"] for side in answer["sides"] for message in side["messages"]]
    assert sorted(scores) == pytest.approx(sorted(found.table["score"]))
    served = Served(clf, made / "run", lambda: Teachers(clf, training, method="head"))
    served.going = Mock(side_effect=ConnectionAbortedError)
    with pytest.raises(ConnectionAbortedError):  # rather than computing for a client that has hung up
        served.because("win a prize")
