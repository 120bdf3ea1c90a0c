"""One request over httpx, within bounds: where it may go, how long it may take, how much may come back."""

import socket
import ssl
import zlib
from collections.abc import Mapping
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from urllib.parse import urlencode, urlsplit

import httpx

from bulkstatus import _times
from bulkstatus._call import Request, Response
from bulkstatus._fast import fast_transport
from bulkstatus._secrets import Masked, Secret, is_header_value
from bulkstatus._unseen import unseen
from bulkstatus._urls import is_loopback
from bulkstatus.errors import BulkStatusError, ConfigError, ProtocolError, Unavailable

# These bound each step; the engine's own deadline bounds the whole, since a server that drips bytes never meets a
# limit that begins anew with each read (encode/httpx#1450).
_STEP_TIMEOUT = httpx.Timeout(connect=5.0, read=10.0, write=10.0, pool=5.0)
# httpx drops idle connections after 5 s by default, so that every slower poll would pay for a new TLS handshake.
_KEEPALIVE = 90.0
_GZIP_WINDOW, _ZLIB_WINDOW = 31, 15


@cache
def _tls_context() -> ssl.SSLContext:
    # Loading the certificates is nearly all that a new httpx client costs, so that is done once for all sources.
    return httpx.create_ssl_context()


@cache
def _user_agent() -> str:
    return f"bulkstatus/{version('bulkstatus')}"


@unseen
def new_client(
    base_urls: tuple[str, ...], *, connections: int, transport: httpx.AsyncBaseTransport | None
) -> httpx.AsyncClient:
    """An httpx client for one source: a small pool, no cookies, no redirects, no default credentials."""
    loopback = all(is_loopback(urlsplit(url).hostname or "") for url in base_urls)
    try:
        client = httpx.AsyncClient(
            verify=_tls_context(),
            transport=transport
            or fast_transport(
                _tls_context(), connections=connections, keepalive=_KEEPALIVE, proxied=not loopback
            ),
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
    # Some providers set cookies even for API clients; they would tie requests of different credentials together.
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def build(client: httpx.AsyncClient, request: Request, credentials: Mapping[str, str]) -> httpx.Request:
    """The httpx request for `request`.

    Raises ConfigError when the URL that results is not, byte for byte, the one the adapter described.
    """
    url = httpx.URL(request.base_url + request.path, params=dict(request.query) or None)
    expected = urlsplit(request.base_url).path + request.path
    base = httpx.URL(request.base_url)
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    if (url.scheme, url.host, url.port) != (base.scheme, base.host, base.port) or path != expected:
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
    causes = list(_causes(error))
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError) and not _is_cut(cause)), None)
    if tls is not None:
        why = getattr(tls, "verify_message", "") or tls.reason or "the handshake failed"
        untrusted = isinstance(tls, ssl.SSLCertVerificationError)
        advice = (
            "if a private CA signs it, point SSL_CERT_FILE at its certificate"
            if untrusted
            else "check that base_url is an https address, port included"
        )
        return Unavailable(
            f"no trusted TLS connection to {host}; {advice}",
            detail=str(why),
            reason="tls_untrusted",
            retryable=False,
        )
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
    if isinstance(error, httpx.ProxyError):
        return Unavailable(
            "the proxy refused the connection; check the proxy settings", reason="proxy", retryable=False
        )
    for kind, message, reason in _TRANSPORT:
        if isinstance(error, kind):
            return Unavailable(f"{message} {host}", reason=reason)
    return Unavailable(f"the exchange broke off with {host}", reason="connection")


_TRANSPORT: tuple[tuple[type[httpx.TransportError], str, str], ...] = (
    (httpx.PoolTimeout, "no connection became free in time for", "pool"),
    (httpx.ConnectTimeout, "no connection within 5 s to", "connect"),
    (httpx.ConnectError, "cannot connect to", "connect"),
    (httpx.TimeoutException, "no answer within 10 s from", "timeout"),
    (httpx.RemoteProtocolError, "no proper HTTP answer from", "framing"),
)


def _is_cut(error: ssl.SSLError) -> bool:
    """True for a connection that ended in the middle of TLS, which says nothing about trust."""
    return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)


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
