"""Messages as lines: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import json
import math

import pytest
from tilth_engine import protocol


@pytest.mark.parametrize(
    "message",
    [
        protocol.run("1", {"kind": "describe"}),
        protocol.cancel("übung-1"),
        {"event": "notice", "level": "info", "message": "Wälder, 森林, \u2028 and \x00\n"},
        {"event": "result", "result": {"a": [1, 2.5, None, True], "b": {"c": "d"}}},
    ],
)
def test_a_message_comes_back_as_it_was(message):
    line = protocol.encode(message)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert protocol.decode(line) == message


def test_numbers_that_json_has_not_become_null():
    message = {"values": {"loss": math.nan, "deep": [(math.inf, 1.0), -math.inf]}}

    assert protocol.decode(protocol.encode(message)) == {
        "values": {"loss": None, "deep": [[None, 1.0], None]}
    }


def test_a_path_that_is_not_utf8_survives():
    message = {"message": "/data/\udcff.tif"}

    assert protocol.decode(protocol.encode(message)) == message


@pytest.mark.parametrize(
    "line",
    [
        b"Loading weights...\n",
        b'{"event": "ready"',
        b"[1, 2]\n",
        b"null\n",
        b'{"a": "\xff"}\n',
        b"\x80\x04\x95pickle",
        b'{"a":' * 100_000,
        b"[" * 200_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
    ],
)
def test_garbage_is_refused_by_one_kind_of_error(line):
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(line)


def test_a_line_that_is_too_long_is_not_even_read():
    line = json.dumps({"a": "x" * protocol.MAX_LINE}).encode()

    with pytest.raises(protocol.ProtocolError, match="too long"):
        protocol.decode(line)
