"""What a base URL may be, and how a path below it is written."""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from bulkstatus._unseen import unseen
from bulkstatus.errors import ConfigError

_MAX_PORT = 65_535
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_IPV6 = re.compile(
    r"\[[0-9A-Fa-f:.]+\](?::[0-9]+)?"
)  # no zone (RFC 6874): it names a network of this machine's
_METADATA = ipaddress.ip_address("fd00:ec2::254")  # the same service as 169.254.169.254, and not link-local

_TUNNELS = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))


def is_loopback(host: str) -> bool:
    """True for localhost and the loopback addresses."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@unseen
def check_base_url(url: str, *, setting: str) -> str:
    """Return `url` in its plain form: scheme, host, port if given, path without a slash at its end.

    Raises ConfigError, naming `setting`, for anything but https (http is for loopback only), and for user info, a
    query, a fragment, an impossible port, link-local addresses and hosts that are not names or plain addresses.
    """
    fault = _fault(url)
    if fault:
        # A letter of another script looks like one of ours, so it is shown by its number.
        shown = _shown(url)
        raise ConfigError(f"{setting} {f'{shown!a} ' if shown else ''}{fault}", reason="base_url")
    return url.rstrip("/")


def _shown(url: str) -> str:
    """The beginning of a wrong URL, without the places where people put secrets by mistake; nothing of what is none."""
    scheme, slashes, rest = url.partition("://")
    bare, _, behind = re.sub(r"[?#\\]", "?", rest).partition("?")
    if not slashes:
        return ""
    if "@" in behind:
        bare = "***"  # a password may hold what ends a URL before its host
    return f"{scheme}://{'***@' if '@' in bare else ''}{bare.rpartition('@')[2]}"[:120]


def _fault(url: str) -> str | None:  # noqa: C901, PLR0911 - one line a rule reads best
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "holds characters that do not belong in a URL; write international hosts in their xn-- form"
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return f"is not a URL with a port from 1 to {_MAX_PORT}"
    if parts.scheme not in ("https", "http"):
        return "does not begin with https://"
    if not host:
        return "names no host"
    if "@" in parts.netloc:
        return "holds user info; credentials have settings of their own"
    if "?" in url or "#" in url:
        return "holds a query or a fragment; give only scheme, host and path"
    if port == 0 or parts.netloc.endswith(":"):
        return f"needs a port from 1 to {_MAX_PORT}"
    if not _is_host(host) or ("[" in parts.netloc and _IPV6.fullmatch(parts.netloc) is None):
        return "does not name a host"
    if _is_link_local(host):
        return "is a link-local address"
    if parts.scheme == "http" and not is_loopback(host):
        return "is not https; http is accepted for loopback addresses only"
    if any(unquote(segment) in (".", "..") for segment in parts.path.split("/")) or "//" in parts.path:
        return "has a path with empty or dot segments"
    return None


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        numeric = labels[-1].isdigit() or labels[-1].lower().startswith("0x")
        return not numeric and all(_LABEL.fullmatch(label) for label in labels)
    return True


def _is_link_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    inner = _embedded(address) if isinstance(address, ipaddress.IPv6Address) else None
    return (inner or address).is_link_local or address == _METADATA


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to: mapped or compatible (RFC 4291, 2.5.5), 6to4, NAT64 (RFC 6052)."""
    last = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    is_tunnel = any(address in network for network in _TUNNELS)
    return address.ipv4_mapped or address.sixtofour or (last if is_tunnel else None)


@lru_cache(maxsize=1024)  # every request is asked for it
def origin(url: str) -> str:
    """Scheme, host and port of a URL, the port always written."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{parts.hostname}:{port}"


@lru_cache(maxsize=1024)  # whoever waits asks for the same paths again and again
def join_path(segments: tuple[str, ...]) -> str:
    """Write a path from its segments, each percent-encoded as one.

    Raises ConfigError for an empty segment and for `.` and `..`, which would change the path's meaning.
    """
    for segment in segments:
        if segment in ("", ".", ".."):
            raise ConfigError(f"{segment!r} cannot be a part of a path", reason="path")
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)
