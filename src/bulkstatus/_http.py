"""One request over httpx, within bounds: where it may go, how long it may take, how much may come back."""

import itertools
import logging
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies

import httpcore
import httpx

from bulkstatus import __version__, _times
from bulkstatus._body import read_body
from bulkstatus._call import Request, Response
from bulkstatus._fast import fast_transport
from bulkstatus._leftover import part_from
from bulkstatus._names import Backend
from bulkstatus._secrets import Masked, Secret, is_header_value
from bulkstatus._unseen import unseen
from bulkstatus._urls import is_loopback
from bulkstatus.errors import BulkStatusError, ConfigError, ProtocolError, Unavailable

# These bound each step; the engine's own deadline bounds the whole, since a server that drips bytes never meets a
# limit that begins anew with each read (encode/httpx#1450).
_STEP_TIMEOUT = httpx.Timeout(connect=5.0, read=10.0, write=10.0, pool=5.0)
# Nothing, a part of it, or nothing new: what only comes to who asks for it, and no adapter can.
_NEVER_ASKED_FOR = frozenset(
    {
        HTTPStatus.NO_CONTENT,
        HTTPStatus.RESET_CONTENT,
        HTTPStatus.PARTIAL_CONTENT,
        HTTPStatus.NOT_MODIFIED,
    }
)
_LAST_STATUS = 599
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110, 5.6.2
# A length that is not the body's would make the next request on the connection a part of this one.
_OF_THE_TRANSPORT = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
# httpx drops idle connections after 5 s by default, so that every slower poll would pay for a new TLS handshake.
_KEEPALIVE = 90.0


_LOG = logging.getLogger("httpx")


@cache
def _tls_context() -> ssl.SSLContext:
    # Loading the certificates is nearly all that a new httpx client costs, so that is done once for all sources.
    try:
        context = httpx.create_ssl_context()
        folder = os.environ.get("SSL_CERT_DIR")
        if folder and not os.environ.get("SSL_CERT_FILE"):
            next(os.scandir(folder), None)  # OpenSSL takes one that is not there for one that trusts nobody
    except (OSError, ValueError) as error:
        variable = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        why = "it holds no certificate" if isinstance(error, ssl.SSLError | ValueError) else error.strerror
        raise ConfigError(
            f"{variable} names {os.environ.get(variable, '')[:200]!r}, which cannot be used ({why}); point it at"
            f" {'a PEM file' if variable == 'SSL_CERT_FILE' else 'a folder'} of the certificates to trust, or unset it",
            reason="certificates",
        ) from None
    return context


def _context_for(base_urls: tuple[str, ...]) -> ssl.SSLContext:
    """That of all sources; one that trusts nobody, as that costs nothing, where no address begins with `https`."""
    if all(urlsplit(url).scheme == "http" for url in base_urls):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _tls_context()


@cache
def _usual_headers() -> dict[str, str]:
    agent = f"bulkstatus/{__version__}"
    return {
        "User-Agent": agent,
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Connection": "keep-alive",
    }


@unseen
def new_client(
    base_urls: tuple[str, ...],
    *,
    connections: int,
    transport: httpx.AsyncBaseTransport | None,
    fast: bool = True,
) -> httpx.AsyncClient:
    """An httpx client for one source: a small pool, which knows the proxies of the environment.

    Requests are handed to its transports by themselves (`exchange`): redirects, cookies and credentials from the
    environment, which it has besides, nobody wants here.
    """
    hosts = {urlsplit(url).hostname or "" for url in base_urls}
    own = set(filter(is_loopback, hosts))
    context = _context_for(base_urls)
    try:
        if transport is None and fast:
            transport = fast_transport(
                context, connections=connections, keepalive=_KEEPALIVE, proxied=own != hosts
            )
        client = httpx.AsyncClient(
            verify=context,
            transport=transport,
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEPALIVE,
            ),
            trust_env=own != hosts,
            # A proxy has no business between this machine and itself, and what goes there is not encrypted.
            mounts={f"all://{f'[{host}]' if ':' in host else host}": None for host in own},
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        # Their text may quote the password of the proxy.
        raise ConfigError(
            "the proxy settings of the environment cannot be used; check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
        ) from None
    for pool in _pools(client):
        # Only private attributes lead there; httpx has no argument for it.
        if not hasattr(pool, "_network_backend"):
            # Connections would be made unseen, without what keeps plain requests to this machine on it.
            raise ConfigError(
                f"this release does not know httpcore {httpcore.__version__}; install an older one",
                reason="transport",
            )
        to_proxy = isinstance(pool, httpcore.AsyncHTTPProxy | httpcore.AsyncSOCKSProxy)
        pool._network_backend = Backend(to_proxy=to_proxy)  # noqa: SLF001
    return client


def _pools(client: httpx.AsyncClient) -> Iterator[httpcore.AsyncConnectionPool]:
    """The pools of httpx's own transports: that of the client, and those of the environment's proxies."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - as above
        if isinstance(transport, httpx.AsyncHTTPTransport):
            yield transport._pool  # noqa: SLF001 - as above


class Heads:
    """The heads of one source's requests, as they were written: the next has the same, mostly."""

    def __init__(self) -> None:
        self._credentials: Mapping[str, str] | None = None
        self._kept: dict[tuple[str, tuple[tuple[str, str], ...]], httpx.Headers] = {}

    def build(self, request: Request, credentials: Mapping[str, str]) -> httpx.Request:
        """As `build`. `credentials` that are the same object as the last are taken to say the same."""
        if request.form is not None:
            return build(request, credentials)
        if credentials is not self._credentials or len(self._kept) > _MOST_HEADS:
            self._kept.clear()
            self._credentials = credentials
        about = (request.base_url, request.headers)
        try:
            head = self._kept.get(about)
        except TypeError:  # an adapter may hand over a list of headers, which can change
            return build(request, credentials)
        if head is None:
            head = self._kept[about] = build(request, credentials).headers
        url = _url(request.base_url, request.path, request.query)
        # With a stream of its own, which is empty, httpx adds nothing to the headers.
        built = httpx.Request(
            "GET",
            url,
            headers=head,
            stream=_NOTHING,
            extensions={"timeout": _STEP_TIMEOUT.as_dict()},
        )
        built.read()
        return built


_MOST_HEADS = 32
_NOTHING = httpx.ByteStream(b"")


def build(request: Request, credentials: Mapping[str, str]) -> httpx.Request:
    """The httpx request for `request`.

    Raises ConfigError when the URL that results is not, byte for byte, the one the adapter described.
    """
    url = _url(request.base_url, request.path, request.query)
    if not all(map(is_header_value, credentials.values())):
        # Whoever writes headers would quote it, in its error and in its log.
        raise ConfigError("the credentials cannot be sent in headers: they hold more than printable ASCII")
    headers = Masked({**dict(request.headers), **credentials})
    if not all(itertools.starmap(_may_be_header, headers.items())):
        raise _unwritable()
    form = None
    if request.form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        form = _encoded(request.form)
    said = {name.lower() for name in headers}
    usual = {name: value for name, value in _usual_headers().items() if name.lower() not in said}
    return httpx.Request(
        request.method,
        url,
        headers=Masked({**usual, **headers}),
        content=form,
        extensions={"timeout": _STEP_TIMEOUT.as_dict()},
    )


@lru_cache(maxsize=1024)  # whoever waits asks the same again and again, and reading a URL takes 30 to 50 us
def _url(base_url: str, path: str, query: tuple[tuple[str, str], ...]) -> httpx.URL:
    try:
        url = httpx.URL(base_url + path, params=dict(query) or None)
        base = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise _unwritable() from None
    expected = urlsplit(base_url).path + path
    try:
        to = (url.scheme, url.host, url.port, url.userinfo)
        elsewhere = to != (base.scheme, base.host, base.port, b"")
    except UnicodeError:
        raise ConfigError(
            f"{urlsplit(base_url).hostname} is no name of a host in its xn-- form; check base_url",
            reason="base_url",
        ) from None
    if elsewhere or url.raw_path.partition(b"?")[0].decode("ascii") != expected:
        raise ConfigError(
            f"the request for {expected[:200]!r} would go elsewhere, so it was not sent", reason="url"
        )
    return url


def _may_be_header(name: object, value: object) -> bool:
    """False for what is no header, and for one that would say where a request goes or ends: the transport does that."""
    if not (isinstance(name, str) and isinstance(value, str)):
        return False
    is_ours = name.lower() in _OF_THE_TRANSPORT or _HEADER_NAME.fullmatch(name) is None
    return not is_ours and (value == "" or is_header_value(value))


def _encoded(form: tuple[tuple[str, str | Secret], ...]) -> bytes:
    shown = {name: value.reveal() if isinstance(value, Secret) else value for name, value in form}
    return urlencode(Masked(shown)).encode("ascii")


async def exchange(
    client: httpx.AsyncClient,
    request: Request,
    credentials: Mapping[str, str],
    *,
    heads: Heads,
    source: str,
    provider: str,
) -> Response:
    """Send `request` and read the whole reply.

    Raises Unavailable when that cannot be done, and ProtocolError when the reply is too large or oddly encoded.
    """
    failed: BulkStatusError
    asked = _built(request, credentials, heads)
    try:
        reply = await client._transport_for_url(asked.url).handle_async_request(asked)  # noqa: SLF001 - see `new_client`
        reply.request = asked
        if _LOG.isEnabledFor(logging.INFO):
            # As httpx's client says it, which is not used: programs may look for its lines. No header is in them.
            _LOG.info(
                'HTTP Request: %s %s "%s %d %s"',
                asked.method,
                asked.url,
                reply.http_version,
                reply.status_code,
                reply.reason_phrase,
            )
        try:
            headers = _headers_of(reply)
            _check_head(reply, headers)
            body = await read_body(reply, headers.get("content-encoding", ""), request.body_limit)
        finally:
            await part_from(reply)
        return Response(
            status=reply.status_code,
            headers=headers,
            body=body,
            received_at=_times.utc_now(),
            source=source,
            provider=provider,
            value_limit=request.value_limit,
        )
    except BulkStatusError:
        raise
    except (httpx.LocalProtocolError, httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.CookieConflict):
        failed = _unwritable()
    except httpx.TransportError as error:
        failed = _transport_error(error, request)
        failed.__cause__ = _names_of(error)
    except Exception as error:  # noqa: BLE001 - what no transport should raise must not take other questions down with it
        failed = Unavailable(f"the exchange broke off ({type(error).__name__})", reason="connection")
        failed.__cause__ = _names_of(error)
    # Out here, since what is raised inside `except` keeps the error that is handled there.
    raise failed


def _headers_of(reply: httpx.Response) -> dict[str, str]:
    """Names in lower case; of a name that comes several times, all values."""
    headers: dict[str, str] = {}
    try:
        for raw_name, raw_value in reply.headers.raw:
            name, value = raw_name.decode("ascii").lower(), raw_value.decode("ascii")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    except UnicodeDecodeError:  # httpx finds out what else they may be written in
        return {name.lower(): value for name, value in reply.headers.items()}
    return headers


def _built(request: Request, credentials: Mapping[str, str], heads: Heads) -> httpx.Request:
    try:
        return heads.build(request, credentials)
    except BulkStatusError:
        raise
    except Exception:  # noqa: BLE001, S110 - an adapter may describe anything; raised below, without the frames that hold it
        pass
    raise _unwritable()


def _unwritable() -> ConfigError:
    # Nothing stands behind it: that may quote a header, and so a credential.
    return ConfigError("the request could not be written; check base_url and the credentials")


def _check_head(reply: httpx.Response, headers: Mapping[str, str]) -> None:
    """Refuse what no adapter should have to know of: statuses that answer nothing, and framing of which two may think two things."""
    status = reply.status_code
    transfer = headers.get("transfer-encoding", "chunked").strip().lower()
    if status < HTTPStatus.OK or transfer != "chunked" or any(" " in name for name in headers):
        # One transport refuses these by itself, as what is no HTTP.
        raise Unavailable(f"no proper HTTP answer from {reply.request.url.host}", reason="framing")
    if status in _NEVER_ASKED_FOR or status > _LAST_STATUS:
        raise ProtocolError(
            "the answer has a status that means nothing here",
            status=status,
            reason="protocol",
            retryable=True,
        )


def _transport_error(error: httpx.TransportError, request: Request) -> BulkStatusError:
    host = urlsplit(request.base_url).hostname or ""
    if isinstance(error, httpx.ProxyError):
        return _proxy_error(error)
    causes = list(_causes(error))
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError) and not _is_cut(cause)), None)
    if tls is not None:
        return _tls_error(tls, host)
    name = next((cause for cause in causes if isinstance(cause, socket.gaierror)), None)
    if name is not None:
        unknown = name.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        message = (
            f"the host {host} does not exist; check base_url"
            if unknown
            else f"cannot look up the host {host}"
        )
        return Unavailable(message, reason="dns" if unknown else "connect")
    for kind, message, reason in _TRANSPORT:
        if isinstance(error, kind):
            limits = {"connect": _STEP_TIMEOUT.connect, "read": _STEP_TIMEOUT.read}
            return Unavailable(f"{message.format_map(limits)} {host}", reason=reason)
    return Unavailable(f"the exchange broke off with {host}", reason="connection")


_TRANSPORT: tuple[tuple[type[httpx.TransportError], str, str], ...] = (
    (httpx.PoolTimeout, "no connection became free in time for", "pool"),
    (httpx.ConnectTimeout, "no connection within {connect:g} s to", "connect"),
    (httpx.ConnectError, "cannot connect to", "connect"),
    (httpx.TimeoutException, "no answer within {read:g} s from", "timeout"),
    (httpx.RemoteProtocolError, "no proper HTTP answer from", "framing"),
)


# OpenSSL's numbers (X509_V_ERR_...), for which Python has no names.
_UNTIMELY = (9, 10)
_OTHER_HOST = (62, 64)


def _tls_error(error: ssl.SSLError, host: str) -> Unavailable:
    why = getattr(error, "verify_message", None) or getattr(error, "reason", None) or "the handshake failed"
    code = getattr(error, "verify_code", None)
    if code in _UNTIMELY:
        advice = "its certificate is not valid at this time: check this machine's clock, or tell the provider"
    elif code in _OTHER_HOST:
        advice = "its certificate is for another host; check base_url"
    elif isinstance(error, ssl.SSLCertVerificationError):
        advice = "if a private CA signs it, point SSL_CERT_FILE at its certificate"
    else:
        advice = (
            "check that base_url is an https address, port included, of a server that speaks TLS 1.2 or newer"
        )
    return Unavailable(
        f"no trusted TLS connection to {host}; {advice}",
        detail=str(why),
        reason="tls_untrusted",
        retryable=False,
    )


def _proxy_error(error: httpx.ProxyError) -> Unavailable:
    """What a proxy did, told with its host and port and not its user or password."""
    proxies = getproxies()
    url = proxies.get("https") or proxies.get("all") or proxies.get("http") or ""
    # What follows the last @ is no credential, however oddly they were written.
    host = url.rpartition("://")[2].rpartition("@")[2].partition("/")[0]
    named = f"the proxy {host[:100] or 'of the environment'}"
    if any(isinstance(cause, OSError) for cause in _causes(error)):
        return Unavailable(f"cannot connect to {named}; check HTTPS_PROXY and ALL_PROXY", reason="proxy")
    status = str(error)[:3]
    if not status.isdigit():  # SOCKS has words in place of numbers
        return Unavailable(f"{named} could not make the connection", reason="proxy")
    advice = (
        "give HTTPS_PROXY a user and password it accepts"
        if status == "407"
        else "check HTTPS_PROXY, or let NO_PROXY name the provider's host"
    )
    # A 5xx is of what lies behind the proxy, as it would be without one.
    return Unavailable(
        f"{named} refused the connection with {status}; {advice}",
        reason="proxy",
        retryable=status.startswith("5"),
    )


def _is_cut(error: ssl.SSLError) -> bool:
    """True for a connection that ended or fell silent in the middle of TLS, which says nothing about trust."""
    return isinstance(
        error,
        ssl.SSLEOFError
        | ssl.SSLZeroReturnError
        | ssl.SSLSyscallError
        | ssl.SSLWantReadError
        | ssl.SSLWantWriteError,
    )


class Behind(Exception):
    """What lay behind an error, by name. The objects themselves hold the request, and so the credentials."""


def _names_of(error: BaseException) -> Behind:
    """The kinds of `error` and of all that was behind it. Texts are left out: they may quote what was sent."""
    return Behind(", from ".join(map(_name_of, _causes(error))))


def _name_of(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    number = error.errno if isinstance(error, OSError) else None
    return name if number is None else f"{name} [errno {number}]"


def _causes(error: BaseException | None) -> "list[BaseException]":
    found: list[BaseException] = []
    ahead = [error]
    while ahead:
        one = ahead.pop(0)
        if one is not None and one not in found:
            found.append(one)
            ahead += [one.__cause__, one.__context__]
    return found
