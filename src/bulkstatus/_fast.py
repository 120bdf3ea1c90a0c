"""Which transport carries the requests: that of aiohttp, where the extra `fast` is installed, or httpx's own.

That of aiohttp has neither the fault that loses a pool to cancelled requests (encode/httpcore#1093) nor the pool whose
every request walks over all connections (encode/httpcore, pull request 1000).
"""

import os
import re
import ssl
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from urllib.request import getproxies

import httpx

CHOICE = "BULKSTATUS_TRANSPORT"
"""The environment variable that keeps to httpx's own transport (`httpx`) although the extra is installed."""

# The first aiohttp that lets the number of an answer's headers be chosen. An older one may be there for another package.
_OLDEST = (3, 13, 4)
_PROXIES = {"http", "https", "all"}  # and not "no", which names hosts to go to without one


def fast_transport(
    context: ssl.SSLContext, *, connections: int, keepalive: float, proxied: bool
) -> httpx.AsyncBaseTransport | None:
    """The transport of aiohttp for one source; None where it is not installed or too old, not wanted, or a proxy is set.

    `proxied` says that the environment's proxies count for this source: aiohttp's transport knows none of them.
    """
    has_proxy = proxied and not _PROXIES.isdisjoint(getproxies())
    if has_proxy or not _is_wanted():
        return None
    from bulkstatus._aiohttp import Transport

    return Transport(context, connections=connections, keepalive=keepalive)


def prepare() -> None:
    """Import what the transport takes, a third of a second for aiohttp, so that no question's deadline passes meanwhile."""
    if _is_wanted():
        import_module("bulkstatus._aiohttp")


def _is_wanted() -> bool:
    return os.environ.get(CHOICE, "") != "httpx" and _is_installed()


def _is_installed() -> bool:
    try:
        version("httpx-aiohttp")
        found = version("aiohttp")
    except PackageNotFoundError:
        return False
    return tuple(map(int, re.findall(r"\d+", found)[:3])) >= _OLDEST
