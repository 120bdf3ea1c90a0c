"""Whether a connection holds more than the answer that was read from it.

httpx's own transport asks an idle connection's socket whether there is something to read. What has left the socket
already it does not see: a second answer that came in the packet of the first, or in a TLS record behind it, would be
taken for the answer to the next request on that connection.
"""

import ssl
from typing import Any

import httpx


async def part_from(reply: httpx.Response) -> None:
    """Close `reply`. Its connection is closed with it unless all that came on it has been read."""
    network = reply.extensions.get("network_stream")
    if network is not None and not _is_clean(reply, network):
        await network.aclose()  # the pool finds it closed, and makes another
    await reply.aclose()


def _is_clean(reply: httpx.Response, network: Any) -> bool:  # noqa: ANN401 - httpcore's, which is not our dependency
    """False also where it cannot be told: a new connection is dear, an answer to another question is wrong."""
    try:
        # No public name leads to these; the pin of httpx, and a test that connections are kept, hold them.
        stream: Any = reply.stream
        behind, ended = stream._httpcore_stream._stream._connection._h11_state.trailing_data  # noqa: SLF001 - see above
        # Before TLS it is wrapped by the backend of _names.
        wire = getattr(network, "_inner", network)._stream  # noqa: SLF001 - see above
        queue = getattr(wire, "transport_stream", wire)._protocol.read_queue  # noqa: SLF001 - see above
    except AttributeError:
        return False
    return not (behind or ended or queue) and _is_drained(network.get_extra_info("ssl_object"))


def _is_drained(tls: ssl.SSLObject | None) -> bool:
    """Whether nothing is left to be decrypted. Reads a byte where there is: the connection is not used again then."""
    if tls is None:
        return True
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLError:
        return False
    return False
