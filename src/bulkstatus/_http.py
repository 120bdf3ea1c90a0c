"""One request over httpx, within bounds: where it may go, how long it may take, how much may come back."""

import os
import socket
import ssl
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies

import httpcore
import httpx

from bulkstatus import _times
from bulkstatus._call import Request, Response
from bulkstatus._fast import fast_transport
from bulkstatus._names import Backend
from bulkstatus._secrets import Masked, Secret, is_header_value
from bulkstatus._urls import is_loopback
from bulkstatus.errors import BulkStatusError, ConfigError, ProtocolError, Unavailable, unseen

# These bound each step; the engine's own deadline bounds the whole, since a server that drips bytes never meets a
# limit that begins anew with each read (encode/httpx#1450).
_STEP_TIMEOUT = httpx.Timeout(connect=5.0, read=10.0, write=10.0, pool=5.0)
# httpx drops idle connections after 5 s by default, so that every slower poll would pay for a new TLS handshake.
_KEEPALIVE = 90.0
_GZIP_WINDOW, _ZLIB_WINDOW = 31, 15


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


@cache
def _user_agent() -> str:
    return f"bulkstatus/{version('bulkstatus')}"


@unseen
def new_client(
    base_urls: tuple[str, ...], *, connections: int, transport: httpx.AsyncBaseTransport | None
) -> httpx.AsyncClient:
    """An httpx client for one source: a small pool, no cookies, no redirects, no default credentials."""
    loopback = all(is_loopback(urlsplit(url).hostname or "") for url in base_urls)
    context = _tls_context()
    try:
        client = httpx.AsyncClient(
            verify=context,
            transport=transport
            or fast_transport(context, connections=connections, keepalive=_KEEPALIVE, proxied=not loopback),
            timeout=_STEP_TIMEOUT,
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEPALIVE,
            ),
            follow_redirects=False,
            trust_env=not loopback,  # a proxy has no business between this machine and itself
            headers={"User-Agent": _user_agent(), "Accept": "application/json", "Accept-Encoding": "gzip"},
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        # Their text may quote the password of the proxy.
        raise ConfigError(
            "the proxy settings of the environment cannot be used; check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
        ) from None
    for pool in _pools(client):
        # Only private attributes lead there, which the tests of hanging lookups would miss; httpx has no argument for it.
        to_proxy = isinstance(pool, httpcore.AsyncHTTPProxy | httpcore.AsyncSOCKSProxy)
        pool._network_backend = Backend(to_proxy=to_proxy)  # noqa: SLF001
    # Some providers set cookies even for API clients; they would tie requests of different credentials together.
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def _pools(client: httpx.AsyncClient) -> Iterator[httpcore.AsyncConnectionPool]:
    """The pools of httpx's own transports: that of the client, and those of the environment's proxies."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - as above
        if isinstance(transport, httpx.AsyncHTTPTransport):
            yield transport._pool  # noqa: SLF001 - as above


def build(client: httpx.AsyncClient, request: Request, credentials: Mapping[str, str]) -> httpx.Request:
    """The httpx request for `request`.

    Raises ConfigError when the URL that results is not, byte for byte, the one the adapter described.
    """
    url = httpx.URL(request.base_url + request.path, params=dict(request.query) or None)
    expected = urlsplit(request.base_url).path + request.path
    base = httpx.URL(request.base_url)
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    goes_there = (url.scheme, url.host, url.port, url.userinfo) == (base.scheme, base.host, base.port, b"")
    if not goes_there or path != expected:
        raise ConfigError(
            f"the request for {expected[:200]!r} would go elsewhere, so it was not sent", reason="url"
        )
    if not all(map(is_header_value, credentials.values())):
        # Whoever writes headers would quote it, in its error and in its log.
        raise ConfigError("the credentials cannot be sent in headers: they hold more than printable ASCII")
    headers = Masked({**dict(request.headers), **credentials})
    if request.form is None:
        return client.build_request("GET", url, headers=headers)
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return client.build_request("POST", url, headers=headers, content=_encoded(request.form))


def _encoded(form: tuple[tuple[str, str | Secret], ...]) -> bytes:
    shown = {name: value.reveal() if isinstance(value, Secret) else value for name, value in form}
    return urlencode(Masked(shown)).encode("ascii")


async def exchange(
    client: httpx.AsyncClient,
    request: Request,
    credentials: Mapping[str, str],
    *,
    source: str,
    provider: str,
) -> Response:
    """Send `request` and read the whole reply.

    Raises Unavailable when that cannot be done, and ProtocolError when the reply is too large or oddly encoded.
    """
    reply, body = None, b""
    try:
        reply = await client.send(build(client, request, credentials), stream=True)
        try:
            body = await _read_body(reply, request.body_limit)
        finally:
            await reply.aclose()
    except (httpx.LocalProtocolError, httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.CookieConflict):
        reply = None
    except httpx.TransportError as error:
        raise _transport_error(error, request) from _without_frames(error)
    except (httpx.HTTPError, httpx.StreamError, RuntimeError, OSError) as error:
        # What no transport should raise must not take the other questions down with it.
        why = f"the exchange broke off ({type(error).__name__})"
        raise Unavailable(why, reason="connection") from _without_frames(error)
    if reply is None:
        # Out here, the cause is not behind it: that may quote a header.
        raise ConfigError("the request could not be written; check base_url and the credentials")
    return Response(
        status=reply.status_code,
        headers={name.lower(): value for name, value in reply.headers.items()},
        body=body,
        received_at=_times.utc_now(),
        source=source,
        provider=provider,
    )


def _too_large(reply: httpx.Response, limit: int) -> ProtocolError:
    return ProtocolError(
        f"the answer is larger than {limit:,} bytes", status=reply.status_code, reason="response_too_large"
    )


async def _read_body(reply: httpx.Response, limit: int) -> bytes:
    if reply.is_stream_consumed:
        # A transport of somebody's tests gave a reply with its content, which httpx read when it was made.
        if len(reply.content) > limit:
            raise _too_large(reply, limit)
        return reply.content
    # httpx inflates without bounds: a kilobyte of nested gzip has cost it gigabytes. So it is done here, by hand.
    encoding = reply.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        inflate = None
    elif encoding in ("gzip", "deflate"):
        inflate = zlib.decompressobj(_GZIP_WINDOW if encoding == "gzip" else _ZLIB_WINDOW)
    else:
        raise ProtocolError("the answer is in an encoding that was not asked for", reason="encoding")
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in reply.aiter_raw():
            part = chunk if inflate is None else inflate.decompress(chunk, limit + 1 - size)
            size += len(part)
            if size > limit:
                raise _too_large(reply, limit)
            parts.append(part)
    except zlib.error:
        raise ProtocolError("the answer's compression is broken", reason="encoding", retryable=True) from None
    if inflate is not None and size and (not inflate.eof or inflate.unused_data):
        raise ProtocolError("the answer's compression does not end where the answer does", retryable=True)
    return b"".join(parts)


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
    if "location header" in str(error):
        # httpx reads where a redirect leads even when it is not to follow it, and stumbles over what is no URL.
        return ProtocolError("a redirect was not followed; check base_url", reason="redirect_refused")
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


def _without_frames(error: BaseException) -> BaseException:
    """The same error; the frames behind it hold what was being written, and so the credentials."""
    for cause in _causes(error):
        cause.__traceback__ = None
    return error


def _causes(error: BaseException | None) -> "list[BaseException]":
    found: list[BaseException] = []
    ahead = [error]
    while ahead:
        one = ahead.pop(0)
        if one is not None and one not in found:
            found.append(one)
            ahead += [one.__cause__, one.__context__]
    return found
