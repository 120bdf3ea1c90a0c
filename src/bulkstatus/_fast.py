"""Which transport carries the requests: that of aiohttp, where the extra `fast` is installed, or httpx's own.

That of aiohttp has neither the fault that loses a pool to cancelled requests (encode/httpcore#1093) nor the pool whose
every request walks over all connections (encode/httpcore, pull request 1000).
"""

import os
import ssl
from importlib.util import find_spec
from urllib.request import getproxies

import httpx

CHOICE = "BULKSTATUS_TRANSPORT"
"""The environment variable that keeps to httpx's own transport (`httpx`) although the extra is installed."""


def fast_transport(
    context: ssl.SSLContext, *, connections: int, keepalive: float, proxied: bool
) -> httpx.AsyncBaseTransport | None:
    """The transport of aiohttp for one source; None where it is not installed, not wanted, or a proxy is set.

    `proxied` says that the environment's proxies count for this source: aiohttp's transport knows none of them.
    """
    wanted = os.environ.get(CHOICE, "") != "httpx"
    if not wanted or (proxied and getproxies()) or find_spec("httpx_aiohttp") is None:
        return None
    from bulkstatus._aiohttp import Transport

    return Transport(context, connections=connections, keepalive=keepalive)
