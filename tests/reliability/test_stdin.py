"""References on stdin: any number, in any form, each asked for once; too many, or what is no text, is said at once."""

import random
from types import SimpleNamespace

import pytest

from bulkstatus.cli import main
from bulkstatus.testing import Life, serve
from bulkstatus_weavr.fake import WeavrFake

KEY, TOKEN = "S3CR3T-stdin-key", "S3CR3T-stdin-token"


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run the command line in this process with these bytes on stdin, against a provider with two bulks."""
    fake = WeavrFake(api_key=KEY, auth_token=TOKEN)
    for id in ("1", "2"):
        fake.add(id, Life.of((0, "PAUSED")), operations=1)
    monkeypatch.setenv("WEAVR_API_KEY", KEY)
    monkeypatch.setenv("WEAVR_AUTH_TOKEN", TOKEN)
    config = tmp_path / "bulkstatus.toml"
    monkeypatch.setenv("BULKSTATUS_CONFIG", str(config))
    monkeypatch.setenv("BULKSTATUS_JOURNAL", str(tmp_path / "journal.db"))
    file = tmp_path / "stdin.txt"

    def run(data, *words):
        file.write_bytes(data)
        with file.open() as stdin, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", stdin)
            before = len(fake.requests)
            code = main([*words])
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err, requests=len(fake.requests) - before)

    with serve(fake) as url:
        config.write_text(
            f'[sources.payments]\nprovider = "weavr"\nbase_url = "{url}"\napi_key = "env:WEAVR_API_KEY"\n'
            'auth_token = "env:WEAVR_AUTH_TOKEN"\nbudget = []\n'
        )
        yield run


NAMES = ["get", "-", "-o", "name"]
FORMS = {
    "100,000, all the same two": b"payments:1\npayments:2\n" * 50_000,
    "blank lines": b"\n\n  \npayments:1\n\n\t\npayments:2\n\n",
    "CR LF": b"payments:1\r\npayments:2\r\n",
    "CR alone": b"payments:1\rpayments:2\r",
    "NUL between": b"payments:1\0payments:2\0",
    "no line end": b"payments:1\npayments:2",
    "several on a line": b"payments:1 payments:2\tpayments:1",
    "byte-order mark": b"\xef\xbb\xbfpayments:1\npayments:2\n",
    "line separators": "payments:1\u2028payments:2\u2029payments:1\x85".encode(),
}


@pytest.mark.row("B98")
@pytest.mark.parametrize("form", FORMS)
def test_however_they_are_written_each_is_asked_for_once(call, form):
    """In the order in which they came first."""
    done = call(FORMS[form], *NAMES)
    assert (done.code, done.out, done.err) == (0, "payments:1\npayments:2\n", "")
    assert done.requests <= 2


def many(number):
    """That many references, none twice."""
    return b"".join(b"payments:%d\n" % id for id in range(1_000_000, 1_000_000 + number))


NOT_TAKEN = {
    "10,001": (many(10_001), "more than 10,000 references; ask in several calls"),
    "100,000": (many(100_000), "more than 10,000 references; ask in several calls"),
    "8 MiB": (b"payments:1\n" * 800_000, "more than 10,000 references could need"),
    "a program": (b"\x7fELF\x02\x01\x01" + random.Random(1).randbytes(5_000), "stdin is not text"),
    "bytes that are no text": (b"payments:1\n\xff\xfe\n", "stdin is not text"),
    "an archive": (b"\x1f\x8b\x08\x00" + random.Random(2).randbytes(500), "stdin is not text"),
    "UTF-16": ("payments:1\n".encode("utf-16"), "stdin is not text"),
    "an escape": (b"payments:1\x1b[31m\n", "stdin is not text"),
    "nothing": (b"", "no references were given"),
    "blanks alone": (b" \n\0\r\n", "no references were given"),
    "a sentence": (b"REF STATE\npayments:1 running\n", "'REF' is not a reference"),
    "one long word": (b"a" * 1_000_000, "is not a reference"),
}


@pytest.mark.row("B98")
@pytest.mark.parametrize("case", NOT_TAKEN)
@pytest.mark.parametrize("command", ["get", "wait", "track"])
def test_what_is_not_taken_is_said_before_anything_is_sent(call, case, command):
    """With 2, one short line on stderr, and nothing on stdout."""
    data, why = NOT_TAKEN[case]
    done = call(data, command, "-")
    assert (done.code, done.out, done.requests) == (2, "", 0)
    assert why in done.err
    assert len(done.err) < 400
    assert done.err.count("\n") == 1


@pytest.mark.row("B98")
def test_ten_thousand_are_taken(call):
    """By the journal, which needs no request for them."""
    done = call(many(10_000), "track", "-")
    assert (done.code, done.requests) == (0, 0)


def test_names_are_what_the_next_command_takes(call):
    """As they come out, each on a line."""
    names = call(b"payments:1\npayments:2\n", *NAMES).out
    assert call(names.encode(), *NAMES).out == names
