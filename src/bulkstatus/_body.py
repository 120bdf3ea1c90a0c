"""The body of a reply, read within bounds."""

import zlib

import httpx

from bulkstatus.errors import ProtocolError

_GZIP_WINDOW, _ZLIB_WINDOW = 31, 15
_ROOM = 64 * 1024
"""How many more bytes a compressed body may have than there are in it: headers, and blocks that did not shrink."""


async def read_body(reply: httpx.Response, encoding: str, limit: int) -> bytes:
    """The whole body, decompressed from `encoding`, of at most `limit` bytes.

    Raises ProtocolError for one that is larger, is in an encoding that was not asked for, or does not end where its
    compression does. httpx inflates without bounds: a kilobyte of nested gzip has cost it gigabytes. So it is done
    here, by hand.
    """
    if reply.is_stream_consumed:
        # A transport of somebody's tests gave a reply with its content, which httpx read when it was made.
        if len(reply.content) > limit:
            raise _too_large(reply, limit)
        return reply.content
    inflate = _inflater(encoding.strip().lower())
    body = bytearray()  # not a list of parts: chunks of two bytes would be sixty of memory each
    raw = 0
    stream = reply.stream  # not `aiter_raw`, which hands the connection on before anybody has looked at it
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - narrows for the checkers; async clients give no other
    async for chunk in stream:
        raw += len(chunk)
        part = chunk if inflate is None else _inflated(inflate, chunk, limit + 1 - len(body))
        if len(body) + len(part) > limit or raw > limit + _ROOM:
            raise _too_large(reply, limit)
        body += part
    if inflate is not None and raw and not inflate.eof:
        raise _broken("the answer ends before its compression does")
    return bytes(body)


def _inflater(encoding: str) -> "zlib._Decompress | None":
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "deflate"):
        return zlib.decompressobj(_GZIP_WINDOW if encoding == "gzip" else _ZLIB_WINDOW)
    raise ProtocolError("the answer is in an encoding that was not asked for", reason="encoding")


def _inflated(inflate: "zlib._Decompress", chunk: bytes, room: int) -> bytes:
    ended = inflate.eof
    try:
        part = b"" if ended else inflate.decompress(chunk, room)
    except zlib.error:
        raise _broken("the answer's compression is broken") from None
    if ended or inflate.unused_data:
        raise _broken("the answer goes on after its compression has ended")
    return part


def _broken(why: str) -> ProtocolError:
    return ProtocolError(why, reason="encoding", retryable=True)


def _too_large(reply: httpx.Response, limit: int) -> ProtocolError:
    return ProtocolError(
        f"the answer is larger than {limit:,} bytes", status=reply.status_code, reason="response_too_large"
    )
