"""`Retry-After` in every form that is none, on a real socket."""

import pytest

from bulkstatus import Policy, State
from bulkstatus.errors import RateLimited
from support import Plain, ask, raw_server, reply

row = pytest.mark.row

# What the headers say, as bytes in latin-1, and how many seconds that is.
HEADERS = {
    "empty": (["Retry-After:"], None),
    "a word": (["Retry-After: abc"], None),
    "negative": (["Retry-After: -1"], None),
    "a fraction": (["Retry-After: 1.5"], None),
    "an exponent": (["Retry-After: 1e3"], None),
    "inf": (["Retry-After: inf"], None),
    "nan": (["Retry-After: nan"], None),
    "a plus": (["Retry-After: +5"], None),
    "an underscore": (["Retry-After: 1_0"], None),
    "blanks around it": (["Retry-After:  5 "], 5.0),
    "an Arabic five": (["Retry-After: \u0665".encode().decode("latin-1")], None),
    "a superscript": (["Retry-After: \xb2"], None),
    "400 nines": (["Retry-After: " + "9" * 400], None),
    "ten digits": (["Retry-After: 1000000000"], None),
    "nine digits": (["Retry-After: 100000000"], 100_000_000.0),
    "two in one": (["Retry-After: 5, 10"], 10.0),
    "two headers": (["Retry-After: 10", "Retry-After: 5"], 10.0),
    "two headers, one of them none": (["Retry-After: 10", "Retry-After: soon"], None),
    "an ISO date": (["Retry-After: 2036-01-01T00:00:00Z"], None),
    "a date without a zone": (["Retry-After: Wed, 21 Oct 2015 07:29:00"], None),
    "a date of another zone": (["Retry-After: Wed, 21 Oct 2015 07:29:00 EST"], None),
    "a date that is none": (["Retry-After: Wed, 99 Oct 2015 07:29:00 GMT"], None),
    "a date": (
        ["Date: Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After: Wed, 21 Oct 2015 07:29:00 GMT"],
        60.0,
    ),
    "a date that is over": (["Retry-After: Wed, 21 Oct 2015 07:29:00 GMT"], 0.0),
    "nothing": ([], None),
}


@row("B87")
@pytest.mark.parametrize("case", HEADERS)
def test_the_wait_is_whole_seconds_or_a_date_or_not_there(case, kind, transport):
    """Whoever is throttled is told how long by these two forms alone."""
    headers, seconds = HEADERS[case]
    with raw_server(reply(b"", 429, *headers)) as server, pytest.raises(RateLimited) as caught:
        ask(kind, Plain(base_url=server.url), policy=Policy(attempts=1))
    assert caught.value.retry_after == seconds
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@row("B87")
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e9", "9" * 400, "Wed, 99 Oct 2015 07:28:00 GMT"])
def test_what_is_no_wait_delays_nothing(value, kind, transport, quick):
    """The question is asked again after a pause of our own, and answered."""
    with raw_server(reply(b"", 503, f"Retry-After: {value}"), reply()) as server:
        (status,) = ask(kind, Plain(base_url=server.url))
    assert status.state is State.RUNNING
    assert len(server.requests) == 2
