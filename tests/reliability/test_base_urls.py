"""Where requests may go: what is no base URL is refused before anything is sent, wherever it is written."""

import json

import pytest

from bulkstatus import Client, ConfigError, read_config
from bulkstatus.testing import FakeResponse, FakeTransport
from bulkstatus_cloudflare import Cloudflare
from bulkstatus_druid import Druid
from bulkstatus_weavr import Weavr
from commands import command
from support import Plain, Scripted, ask

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
SETTINGS = {
    "weavr": ("base_url", lambda url: Weavr(base_url=url, api_key="k", auth_token="t")),
    "cloudflare": ("base_url", lambda url: Cloudflare(base_url=url, account_id=ACCOUNT, token="t")),
    "druid": ("api_base_url", lambda url: Druid(api_base_url=url, client_id="i", client_secret="s")),
    "druid tokens": (
        "auth_base_url",
        lambda url: Druid(
            api_base_url="https://api.test", auth_base_url=url, client_id="i", client_secret="s"
        ),
    ),
}


def rows(*cases):
    """Cases as `(row, url)`."""
    return [pytest.param(url, marks=pytest.mark.row(row), id=f"{row} {url!a}"[:60]) for row, url in cases]


REFUSED = rows(
    ("B23", "http://api.weavr.test"),
    ("B23", "http://10.0.0.1"),
    ("B23", "http://0.0.0.0:8080"),
    ("B23", "http://localhost.evil.test"),
    ("B23", "http://127.0.0.1.evil.test"),
    ("B23", "http://localhost@evil.test"),
    ("B24", "file:///etc/passwd"),
    ("B24", "file://localhost/etc/passwd"),
    ("B25", "ftp://x"),
    ("B25", "ws://x"),
    ("B25", "gopher://x"),
    ("B26", "javascript:alert(1)"),
    ("B26", "data:text/html,x"),
    ("B27", "://"),
    ("B27", ""),
    ("B27", "api.weavr.test"),
    ("B27", "//api.weavr.test"),
    ("B28", "https:///x"),
    ("B28", "https://"),
    ("B28", "https://:443/"),
    ("B29", "https://u:pass-w0rd@h.test/"),
    ("B29", "https://pass-w0rd@h.test/"),
    ("B29", "https://@h.test/"),
    ("B29", "https://good.example\\@evil.test"),
    ("B29", "https://good.example%40evil.test"),
    ("B29", "https://good.example@evil.test"),
    ("B29", "https://good.example:443@evil.test"),
    ("B30", "https://h.test/?x=1"),
    ("B30", "https://h.test?token=pass-w0rd"),
    ("B30", "https://h.test/?"),
    ("B31", "https://h.test/#pass-w0rd"),
    ("B31", "https://h.test#"),
    ("B32", "https://h.test:0"),
    ("B32", "https://h.test:00"),
    ("B32", "https://h.test:"),
    ("B32", "https://h.test:-1"),
    ("B32", "https://h.test:+443"),
    ("B33", "https://h.test:99999"),
    ("B33", "https://h.test:106193"),
    ("B33", "https://h.test:\u0664\u0664\u0663"),
    ("B33", "https://h.test:1_0"),
    ("B33", "https://h.test:80:90"),
    ("B33", "https://h.test:https"),
    ("B34", "https://exa mple/"),
    ("B34", " https://h.test"),
    ("B34", "https://h.test\r\nX-Evil: y"),
    ("B34", "https://h.te\tst"),
    ("B34", "https://h.test/\x1b[31m"),
    ("B34", "https://h.test\x00"),
    ("B34", "https://h.test/a/../b"),
    ("B34", "https://h.test/%2e%2e/b"),
    ("B34", "https://h.test//b"),
    ("B35", "http://169.254.169.254/"),
    ("B35", "https://169.254.169.254/"),
    ("B35", "https://169.254.169.254./"),
    ("B35", "https://[::ffff:169.254.169.254]/"),
    ("B35", "https://[::ffff:a9fe:a9fe]/"),
    ("B35", "https://[::169.254.169.254]/"),
    ("B35", "https://[64:ff9b::169.254.169.254]/"),
    ("B35", "https://[2002:a9fe:a9fe::1]/"),
    ("B35", "https://[fd00:ec2::254]/"),
    ("B35", "https://[fe80::1]/"),
    ("B35", "https://[fe80::1%eth0]/"),
    ("B35", "https://[fe80::1%25eth0]/"),
    ("B35", "https://[::1%25lo]/"),
    ("B36", "https://\u0430pi.weavr.test"),
    ("B36", "https://ex\u00e4mple.test"),
    ("B36", "https://api\uff0eweavr\uff0etest"),
    ("B36", "https://api\u3002weavr.test"),
    ("B36", "https://\uff41pi.weavr.test"),
    ("B36", "https://api.weavr\u200b.test"),
    ("B37", "https://0x7f.1/"),
    ("B37", "https://0x7f000001/"),
    ("B37", "https://2130706433/"),
    ("B37", "https://2852039166"),
    ("B37", "https://127.1/"),
    ("B37", "https://0177.0.0.01/"),
    ("B37", "https://127.0.0.0x1"),
    ("B37", "https://256.256.256.256"),
    ("B37", "https://[v1.weavr]/"),
    ("B37", "https://[127.0.0.1]/"),
    ("B37", "https://[::1]weavr.test/"),
)


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_is_no_base_url_is_refused_by_every_adapter(setting, url):
    """One harmless line that names the setting, without what may be a secret; nothing is sent."""
    name, make = SETTINGS[setting]
    with pytest.raises(ConfigError) as caught:
        make(url)
    error = caught.value
    assert error.message.startswith(name)
    assert error.reason == "base_url"
    assert str(error).isprintable()
    assert str(error).isascii()
    assert "pass-w0rd" not in str(error)


def config_of(url):
    """A configuration with a Weavr at `url`, in line 3."""
    return (
        f'[sources.payments]\nprovider = "weavr"\nbase_url = {json.dumps(url)}\napi_key = "env:KEY"\n'
        'auth_token = "env:KEY"\n'
    )


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_no_base_url_is_refused_in_a_configuration(tmp_path, monkeypatch, url):
    """With file and line."""
    monkeypatch.setenv("KEY", "key")
    path = tmp_path / "bulkstatus.toml"
    path.write_text(config_of(url))
    with pytest.raises(ConfigError) as caught:
        read_config(path).build()
    assert str(caught.value).startswith(f"{path}:3: sources.payments: base_url ")
    assert "pass-w0rd" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    rows(
        ("B23", "http://api.weavr.test"),
        ("B29", "https://u:pass-w0rd@h.test/"),
        ("B35", "http://169.254.169.254/"),
        ("B36", "https://\u0430pi.weavr.test"),
    ),
)
@pytest.mark.unrecorded
def test_the_command_line_refuses_it_before_anything_is_sent(tmp_path, url):
    """Exit code 2, the line, and the letter that only looks like ours by its number."""
    path = tmp_path / "bulkstatus.toml"
    path.write_text(config_of(url))
    done = command("get", "payments:1", "--config", path, KEY="key", canaries=["pass-w0rd", "\u0430"])
    assert (done.code, done.out) == (2, "")
    assert "bulkstatus.toml:3: sources.payments: base_url" in done.err
    if not url.isascii():
        assert r"\u0430pi.weavr.test" in done.err
        assert "xn--" in done.err


@pytest.mark.row("B23")
@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080/x"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_plain_http_is_for_this_machine_alone(setting, url):
    """For tests and tunnels."""
    _, make = SETTINGS[setting]
    assert url in make(url).base_urls()


@pytest.mark.row("B36")
@pytest.mark.parametrize("setting", SETTINGS)
def test_an_international_host_is_taken_and_shown_in_its_xn_form(setting):
    """So that a homograph is seen for what it is."""
    _, make = SETTINGS[setting]
    adapter = make("https://xn--pi-7kc.weavr.test")
    assert "https://xn--pi-7kc.weavr.test" in adapter.base_urls()
    assert "xn--pi-7kc" in repr(adapter)


@pytest.mark.row("B36")
def test_a_request_goes_to_the_xn_form_as_it_is_written():
    """Nothing decodes it on the way."""
    fake = Scripted(lambda _: FakeResponse.json({"id": "a1", "status": "running"}))
    url = "https://xn--pi-7kc.weavr.test"
    with Client({"plain": Plain(base_url=url)}, transport=FakeTransport({url: fake})) as client:
        client.get("plain:a1")
        (health,) = client.check()
    assert fake.requests[0].headers["host"] == "xn--pi-7kc.weavr.test"
    assert health.base_urls == (url,)


@pytest.mark.row("B36")
@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("xn--a", "xn-- form; check base_url"),
        ("xn--zzzz9999.weavr.test", "xn-- form; check base_url"),
        ("xn--", "does not name a host"),
    ],
)
def test_a_host_that_only_looks_like_an_xn_form_is_refused(kind, transport, host, why):
    """Before anything is sent, as a setting that is wrong."""
    with pytest.raises(ConfigError, match=why):
        ask(kind, Plain(base_url=f"https://{host}"))


@pytest.mark.row("B33", "B37")
@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.weavr.test:443/x", "api.weavr.test"),
        ("https://api.weavr.test:00443/x", "api.weavr.test"),
        ("https://api.weavr.test./x", "api.weavr.test."),
        ("https://API.weavr.test/x", "api.weavr.test"),
    ],
)
def test_what_is_accepted_goes_where_it_says(url, host):
    """However the host and the port are written, the request goes to that host."""
    seen = []

    class Recording(FakeTransport):
        async def handle_async_request(self, request):
            seen.append((request.url.host, request.url.port))
            return await super().handle_async_request(request)

    fake = Scripted(lambda _: FakeResponse.json({"id": "a1", "status": "running"}))
    transport = Recording({url: fake})
    with Client({"plain": Plain(base_url=url)}, transport=transport) as client:
        client.get("plain:a1")
    assert seen == [(host, None)]
