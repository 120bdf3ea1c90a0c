"""Names of hosts looked up on threads that nobody waits for, and connections made to what comes of it.

An event loop looks names up on a few threads of its own, and neither the loop nor the process ends before they do. A
resolver that hangs for a minute would hold up the end of a program for as long, and a few of them all other lookups.
"""

import ipaddress
import socket
import ssl
from collections.abc import Iterable
from typing import Any, cast

import anyio
import httpcore

from bulkstatus._tasks import on_daemon_thread
from bulkstatus._urls import is_loopback

# RFC 8305, "Connection Attempt Delay": the next address is tried beside one that has not answered for so long.
_NEXT_ADDRESS_AFTER = 0.25
_NOT_CONNECTED = (httpcore.ConnectError, httpcore.ConnectTimeout)


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of `host`, in the order the system prefers. Raises socket.gaierror when there are none.

    A name that counts as this machine's own gets no other machine's address: credentials go to it without TLS.
    """
    if _is_address(host):
        return [host]

    def ask() -> list[str] | socket.gaierror:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            return error
        except (OSError, UnicodeError) as error:
            return socket.gaierror(socket.EAI_FAIL, type(error).__name__)
        return [str(address[0]) for _, _, _, _, address in found]

    addresses = await on_daemon_thread(ask)
    if isinstance(addresses, socket.gaierror):
        raise addresses
    if is_loopback(host):
        addresses = [address for address in addresses if is_loopback(address)]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no usable address")
    return list(dict.fromkeys(addresses))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Backend(httpcore.AsyncNetworkBackend):
    """What httpx connects by. `to_proxy` says that it connects to a proxy, so that failures are told as the proxy's."""

    def __init__(self, *, to_proxy: bool) -> None:
        self._inner = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._to_proxy = to_proxy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the address of `host` that answers first.

        Raises httpcore.ConnectTimeout after `timeout` seconds, the lookup included, and httpcore.ConnectError; for a
        proxy, httpcore.ProxyError in place of both.
        """
        try:
            with anyio.fail_after(timeout):
                addresses = await look_up(host, port)
                stream = await self._first_to_answer(addresses, port, local_address, socket_options)
        except (OSError, *_NOT_CONNECTED) as error:
            timed_out = isinstance(error, TimeoutError | httpcore.ConnectTimeout)
            kind = httpcore.ConnectTimeout if timed_out else httpcore.ConnectError
            raise (httpcore.ProxyError if self._to_proxy else kind)(str(error)) from error
        return _Stream(stream)

    async def _first_to_answer(
        self,
        addresses: list[str],
        port: int,
        local_address: str | None,
        socket_options: Iterable[Any] | None,
    ) -> httpcore.AsyncNetworkStream:
        connected: list[httpcore.AsyncNetworkStream] = []
        errors: list[Exception] = []

        async def attempt(address: str, over: anyio.Event) -> None:
            try:
                connected.append(
                    await self._inner.connect_tcp(address, port, None, local_address, socket_options)
                )
                race.cancel_scope.cancel()
            except _NOT_CONNECTED as error:
                errors.append(error)
            finally:
                over.set()

        try:
            async with anyio.create_task_group() as race:
                for address in _by_turns(addresses):
                    over = anyio.Event()
                    race.start_soon(attempt, address, over)
                    with anyio.move_on_after(_NEXT_ADDRESS_AFTER):
                        await over.wait()
        except BaseException:
            await _close(connected)
            raise
        await _close(connected[1:])
        if not connected:
            raise errors[0]
        return connected[0]

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection before TLS; httpcore leaves its socket to the garbage collector when cancelled in the handshake."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await _close([self._inner])
            raise

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


async def _close(streams: list[httpcore.AsyncNetworkStream]) -> None:
    with anyio.CancelScope(shield=True):
        for stream in streams:
            await stream.aclose()


def _by_turns(addresses: list[str]) -> list[str]:
    """The same, the two families taking turns, so that one that leads nowhere costs one delay."""
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    others = [address for address in addresses if address not in first]
    turns = [address for pair in zip(first, others, strict=False) for address in pair]
    return turns + first[len(others) :] + others[len(first) :]
