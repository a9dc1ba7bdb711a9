"""The serve command: its address, Ctrl-C, and bad input in one line."""

import http.client
import json
import re
import signal
import socket
from contextlib import contextmanager

import pytest

from numpygpt import serve
from tests.calls import python, refusal


@contextmanager
def serving(run, *options):
    """Start the command and return (process, port) when it is ready."""
    process = python("-m", "numpygpt.serve", run, "--port", "0", *options)
    try:
        port = int(
            re.fullmatch(rb".* is served at http://[\d.]+:(\d+)/ \(stop with Ctrl-C\)\n", process.stdout.readline())[1]
        )
        yield process, port
    finally:
        process.kill()
        process.communicate()


def test_serve_prints_its_address_and_answers_there(made):
    with serving(made / "run") as (_, port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/api/classify", b'{"text": "win"}', {"Content-Type": "application/json"})
        assert json.loads(connection.getresponse().read())["label"] in ("ham", "spam")


def test_ctrl_c_ends_serve_at_once(made):
    with serving(made / "run") as (process, port):
        with socket.create_connection(("127.0.0.1", port)) as waiting:
            waiting.sendall(b"POST /api/classify HTTP/1.1\r\nContent-Length: 9\r\n")  # without the body
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (0, b"\n")


def test_serve_warns_of_an_address_other_machines_can_reach(made):
    with serving(made / "run", "--host", "0.0.0.0") as (process, _):
        assert process.stderr.readline().startswith(b"warning: anyone who can reach this machine")


def test_a_port_in_use_is_refused_in_one_line(made, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refusal(capsys, serve.main, made / "run", "--port", port)
    assert re.fullmatch(rf"127.0.0.1, port {port}: .*; choose another --port, or 0 for any free port", error)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere"], "not a finished run"),
        (["RUN", "--port", "65536"], "at most 65535"),
        (["RUN", "--host", "no.such.host.invalid"], "no.such.host.invalid"),
    ],
)
def test_serve_refuses_bad_input(made, capsys, arguments, said):
    run = str(made / "run")
    assert said in refusal(capsys, serve.main, *(run if word == "RUN" else word for word in arguments))
