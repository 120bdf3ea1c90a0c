"""Base URLs and paths."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._urls import check_base_url, is_loopback, join_path, origin
from bulkstatus.errors import ConfigError

REFUSED = {
    "plain http": "http://api.example.com",
    "plain http to a private address": "http://10.0.0.1",
    "a file": "file:///etc/passwd",
    "ftp": "ftp://x",
    "javascript": "javascript:alert(1)",
    "no scheme at all": "://",
    "no host": "https:///x",
    "nothing": "",
    "a bare host": "api.example.com",
    "a path": "/multi",
    "no scheme": "//api.example.com",
    "user and password": "https://u:p@h/",
    "user": "https://u@h/",
    "an empty user": "https://@h/",
    "a host in the place of the user": "https://api.example.com@evil.test/",
    "a query": "https://api.example.com/?x=1",
    "an empty query": "https://api.example.com/?",
    "a fragment": "https://api.example.com/#f",
    "an empty fragment": "https://api.example.com/#",
    "port 0": "https://api.example.com:0",
    "a port out of range": "https://api.example.com:99999",
    "a port that wraps": "https://api.example.com:106193",
    "a negative port": "https://api.example.com:-1",
    "a port in words": "https://api.example.com:https",
    "a blank in the host": "https://exa mple/",
    "a blank before": " https://api.example.com",
    "a line break after": "https://api.example.com\n",
    "a line break inside": "https://api.exa\nmple.com",
    "a tab inside": "https://api.exa\tmple.com",
    "NUL": "https://api.example.com\x00",
    "ESC": "https://api.example.com/\x1b[31m",
    "a backslash": "https://api.example.com\\@evil.test",
    "the metadata address": "http://169.254.169.254/",
    "the metadata address by https": "https://169.254.169.254/latest",
    "link-local": "https://169.254.0.1",
    "link-local, IPv6": "https://[fe80::1]/",
    "link-local, IPv6, the end of its range": "https://[febf::1]/",
    "link-local, IPv6, in capitals": "https://[FE80::1]/",
    "link-local, IPv6, with a zone": "https://[fe80::1%25eth0]/",
    "the metadata address inside IPv6": "https://[::ffff:169.254.169.254]/",
    "an international host": "https://\u0430pi.example.com",
    "full-width dots": "https://api\uff0eexample\uff0ecom",
    "a hexadecimal address": "https://0x7f.1/",
    "a short address": "https://127.1/",
    "an address as one number": "https://2130706433/",
    "an address as one hexadecimal number": "https://0x7f000001/",
    "an octal address": "https://0177.0.0.01/",
    "an address out of range": "https://256.256.256.256/",
    "brackets without an address": "https://[x]/",
    "a bracket": "https://[::1/",
    "a word before the brackets": "http://example.com[::1]:9",
    "a word behind the brackets": "http://[::1]example.com:9",
    "an empty label": "https://api..example.com",
    "only a dot": "https://./",
    "a label that begins with a hyphen": "https://-rf.example.com",
    "a label that is too long": f"https://{'a' * 64}.example.com",
    "a comma": "https://a.example.com,b.example.com",
    "a percent sign in the host": "https://api%2eexample.com",
    "dots in the path": "https://api.example.com/a/../b",
    "a dot in the path": "https://api.example.com/./b",
    "dots at the end": "https://api.example.com/a/..",
    "an empty segment": "https://api.example.com/a//b",
    "loopback in the name of another": "http://localhost.evil.test",
    "a loopback address in the name of another": "http://127.0.0.1.evil.test",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED)
def test_a_url_that_is_no_base_url_is_a_config_error(url):
    """The error names the setting and shows the URL escaped, in one line."""
    with pytest.raises(ConfigError) as caught:
        check_base_url(url, setting="base_url")
    assert str(caught.value).startswith("base_url ")
    assert str(caught.value).isprintable()
    assert caught.value.reason == "base_url"


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://api.example.com/client/v4", "https://api.example.com/client/v4"),
        ("https://api.example.com/client/v4/", "https://api.example.com/client/v4"),
        ("https://api.example.com:8443", "https://api.example.com:8443"),
        ("https://api.example.com:65535", "https://api.example.com:65535"),
        ("https://api.example.com:1/x", "https://api.example.com:1/x"),
        ("https://intranet", "https://intranet"),
        ("https://my_host.example.com", "https://my_host.example.com"),
        ("https://xn--80ak6aa92e.com", "https://xn--80ak6aa92e.com"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("https://localhost", "https://localhost"),
        ("http://localhost:8080/multi", "http://localhost:8080/multi"),
        ("http://weavr.localhost:8080", "http://weavr.localhost:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.8.8.8", "http://127.8.8.8"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        (f"https://{'a' * 63}.example.com", f"https://{'a' * 63}.example.com"),
    ],
)
def test_a_base_url_is_returned_in_its_plain_form(url, plain):
    """It is https, or http for loopback; the path stays, a slash at its end goes, and checking twice is the same."""
    assert check_base_url(url, setting="base_url") == plain
    assert check_base_url(plain, setting="base_url") == plain


def test_credentials_in_a_url_are_not_repeated():
    """A password written into a URL by mistake does not come back in the error."""
    with pytest.raises(ConfigError) as caught:
        check_base_url("https://user:pass-w0rd@api.example.com", setting="base_url")
    assert "pass-w0rd" not in str(caught.value)


def test_a_long_url_is_cut_in_the_error():
    """A megabyte of URL does not become a megabyte of error."""
    with pytest.raises(ConfigError) as caught:
        check_base_url("ftp://" + "a" * 1_000_000, setting="base_url")
    assert len(str(caught.value)) < 300


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_a_base_url_or_a_config_error(text):
    """No text raises anything else, with a scheme before it or without."""
    for url in (text, f"https://{text}", f"https://h/{text}", f"https://h:{text}"):
        try:
            plain = check_base_url(url, setting="base_url")
        except ConfigError as error:
            assert str(error).isprintable()  # noqa: PT017 - the other way out is as right
        else:
            assert plain.isascii()
            assert not plain.endswith("/")
            assert origin(plain).startswith("https://")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("api.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_only(host, expected):
    """localhost, names below it, 127.0.0.0/8 and ::1."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com", "https://api.example.com:443"),
        ("https://api.example.com:443/x", "https://api.example.com:443"),
        ("https://API.Example.com/x", "https://api.example.com:443"),
        ("https://api.example.com:8443/x?y=1", "https://api.example.com:8443"),
        ("http://localhost", "http://localhost:80"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url, expected):
    """Two URLs of one origin have the same text, the default port written out."""
    assert origin(url) == expected


@pytest.mark.parametrize("other", ["http://h", "https://h:444", "https://h.evil", "https://g"])
def test_another_scheme_host_or_port_is_another_origin(other):
    """Nothing that differs is taken for the same."""
    assert origin(other) != origin("https://h")


class TestJoinPath:
    """A path from its segments."""

    def test_segments_are_joined_by_slashes(self):
        """A path begins with a slash; no segments make no path."""
        assert join_path(("bulks", "42", "operations")) == "/bulks/42/operations"
        assert join_path(()) == ""

    @pytest.mark.parametrize(
        ("segment", "encoded"),
        [
            ("../admin", "/..%2Fadmin"),
            ("a/b", "/a%2Fb"),
            ("a%2fb", "/a%252fb"),
            ("%2e%2e", "/%252e%252e"),
            ("a?x=1", "/a%3Fx%3D1"),
            ("a#f", "/a%23f"),
            ("a;b", "/a%3Bb"),
            ("a\\b", "/a%5Cb"),
            ("//evil.test/x", "/%2F%2Fevil.test%2Fx"),
            ("https://evil.test", "/https%3A%2F%2Fevil.test"),
            ("a\r\nX: y", "/a%0D%0AX%3A%20y"),
            ("\x00", "/%00"),
            ("\u202e", "/%E2%80%AE"),
            ("a b", "/a%20b"),
            ("...", "/..."),
        ],
    )
    def test_a_segment_stays_one_segment(self, segment, encoded):
        """Whatever it holds, it cannot end the segment, the path or the line."""
        assert join_path((segment,)) == encoded

    @pytest.mark.parametrize("segment", ["", ".", ".."])
    def test_a_segment_that_would_move_the_path_is_a_config_error(self, segment):
        """Empty and dot segments cannot be encoded away, so they are refused anywhere in the path."""
        for segments in ((segment,), ("a", segment), (segment, "a")):
            with pytest.raises(ConfigError):
                join_path(segments)

    @given(st.lists(st.text(min_size=1).filter(lambda text: text not in (".", "..")), min_size=1, max_size=4))
    def test_a_path_can_be_taken_apart_again(self, segments):
        """Splitting at slashes and decoding gives the segments back; only unreserved characters are plain."""
        path = join_path(tuple(segments))
        assert [unquote(part) for part in path.split("/")[1:]] == segments
        assert path.isascii()
        assert path.isprintable()
        assert not set(path) & set(" ?#;\\:@")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:S3CR3T#more@api.example.com/",
        "https://user:S3CR3T?more@api.example.com/",
        "https://user:more#S3CR3T@api.example.com/",
        "https://user:S3CR3T\\@api.example.com/",
        "https://api.example.com/?key=S3CR3T&to=a@b/S3CR3T",
        "https:user:S3CR3T@api.example.com",
        "https:/user:S3CR3T@api.example.com",
        "https:\\\\user:S3CR3T@api.example.com",
        "user:S3CR3T@api.example.com",
        "S3CR3T",
        "Bearer S3CR3T",
    ],
)
def test_an_error_about_a_url_shows_nothing_that_may_be_a_password(url):
    """However it is written, and where a secret stands in the place of a URL."""
    with pytest.raises(ConfigError, match=r"^base_url ") as caught:
        check_base_url(url, setting="base_url")
    assert "S3CR3T" not in str(caught.value)
