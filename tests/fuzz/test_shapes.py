"""Replies in the documented shapes come to the documented state; replies spoiled in any place to a result or an error of ours."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkstatus import (
    AuthError,
    NotFound,
    ProtocolError,
    RateLimited,
    RequestRejected,
    Unavailable,
)
from bulkstatus.adapter import Call, ListQuery, OperationQuery, Response
from fuzz import shapes
from fuzz.inputs import STATUSES, mutated
from fuzz.oracles import NOW
from fuzz.targets import CLOUDFLARE_ID, DRUID_ID, TARGETS, WEAVR_ID, _cloudflare, _druid, _weavr

pytestmark = pytest.mark.unrecorded


def response(reply, status=200, provider="weavr", **headers):
    """A reply as it arrives."""
    return Response(
        status=status,
        headers=headers,
        body=json.dumps(reply).encode(),
        received_at=NOW,
        source="source",
        provider=provider,
    )


class TestHonest:
    """What the documents describe."""

    @given(shapes.weavr_bulks)
    def test_a_bulk_of_weavr(self, told):
        """Its word and its counts make the state."""
        status = _weavr("ms", ()).status(WEAVR_ID).read(response(told.reply))
        assert status.state is told.state
        assert status.native_state == told.reply["status"]
        assert status.counts.total == told.reply["submittedItemsCount"]
        assert (status.started_at is None) == (told.reply.get("executionStart") is None)
        TARGETS["weavr"](json.dumps(told.reply).encode())

    @settings(max_examples=40)
    @given(shapes.weavr_pages())
    def test_a_list_of_weavr(self, told):
        """Each row has its word's state, an end of it only until it is confirmed."""
        reply, states = told
        page = _weavr("ms", ()).listing(ListQuery())[0].read(response(reply))
        assert [item.state for item in page.items] == states
        assert (page.received, page.total, page.left_out) == (len(states), len(states), 0)
        TARGETS["weavr"](b"ask: listing\n\n" + json.dumps(reply).encode())

    @settings(max_examples=40)
    @given(shapes.weavr_operations())
    def test_the_operations_of_weavr(self, told):
        """Each has its word's state."""
        reply, states = told
        page = _weavr("ms", ()).operations(WEAVR_ID, OperationQuery()).read(response(reply))
        assert [item.state for item in page.items] == states
        TARGETS["weavr"](b"ask: operations\n\n" + json.dumps(reply).encode())

    @given(shapes.cloudflare_bulks)
    def test_a_bulk_of_cloudflare(self, told):
        """Its word makes the state."""
        status = _cloudflare(()).status(CLOUDFLARE_ID).read(response(told.reply, provider="cloudflare"))
        assert status.state is told.state
        result = told.reply["result"]
        assert (status.finished_at is None) == (not result.get("completed"))
        TARGETS["cloudflare"](json.dumps(told.reply).encode())

    @given(shapes.druid_unfinished)
    def test_a_bulk_of_druid(self, told):
        """Its word makes the state, and no second question is asked."""
        status = _druid(()).status(DRUID_ID).read(response(told.reply, provider="druid"))
        assert status.state is told.state
        assert status.created_at is not None
        TARGETS["druid"](json.dumps(told.reply).encode())

    @given(shapes.druid_completed, shapes.druid_results())
    def test_a_completed_bulk_of_druid(self, reply, told):
        """It succeeded when no page of its failed results names anybody, and else is partial."""
        pages, state = told
        found = _druid(()).status(DRUID_ID).read(response(reply, provider="druid"))
        for page in pages:
            if isinstance(found, Call):
                found = found.read(response(page, provider="druid"))
        assert found.state is state

    @settings(max_examples=40)
    @given(shapes.druid_lists())
    def test_a_list_of_druid(self, told):
        """Each row has its word's state; that of a completed one is only its list's word."""
        reply, states = told
        page = _druid(()).listing(ListQuery())[0].read(response(reply, provider="druid"))
        assert [item.state for item in page.items] == states
        TARGETS["druid"](b"ask: listing\n\n" + json.dumps(reply).encode())


_WEAVR_CODES = {"errorCode": "INSUFFICIENT_PERMISSIONS"}
_THROTTLED = {"errorCode": "TOO_MANY_REQUESTS"}


def _fault(code):
    return {"success": False, "errors": [{"code": code, "message": "No"}]}


def _druid_fault(status):
    return {"result": {"status": status, "message": "No"}}


@pytest.mark.parametrize(
    ("provider", "status", "reply", "error"),
    [
        ("weavr", 400, {"message": "No"}, RequestRejected),
        ("weavr", 401, "", AuthError),
        ("weavr", 403, _WEAVR_CODES, AuthError),
        ("weavr", 404, {"code": "X", "message": "No"}, NotFound),
        ("weavr", 409, {"errorCode": "INVALID_STATE"}, RequestRejected),
        ("weavr", 409, _THROTTLED, RateLimited),
        ("weavr", 429, "", RateLimited),
        ("weavr", 500, "", Unavailable),
        ("weavr", 503, "", Unavailable),
        *(
            ("cloudflare", 403, _fault(code), AuthError)
            for code in (10000, 10001, 1000, 1001, 9106, 9109, 9300, 6003)
        ),
        *(("cloudflare", status, _fault(7003), NotFound) for status in (400, 404)),
        *(("cloudflare", status, _fault(971), RateLimited) for status in (200, 429)),
        ("cloudflare", 502, "", Unavailable),
        *(("druid", status, _druid_fault(404), NotFound) for status in (200, 404)),
        ("druid", 400, _druid_fault(400), RequestRejected),
        ("druid", 401, _druid_fault(401), AuthError),
        ("druid", 504, _druid_fault(504), Unavailable),
        ("druid", 200, {"content": None, "result": {"status": 200}}, NotFound),
        ("druid", 200, {}, ProtocolError),
    ],
)
def test_documented_errors(provider, status, reply, error):
    """Each is one of ours, and never a state."""
    adapter, id = {
        "weavr": (_weavr("ms", ()), WEAVR_ID),
        "cloudflare": (_cloudflare(()), CLOUDFLARE_ID),
        "druid": (_druid(()), DRUID_ID),
    }[provider]
    with pytest.raises(error):
        adapter.status(id).read(response(reply, status, provider))


class TestDamaged:
    """What the documents do not describe: the targets hold that it is a result or an error of ours, and which results can be."""

    @pytest.mark.parametrize("shape", shapes.SHAPES, ids=str)
    def test_in_every_single_place(self, shape):
        """Each value replaced by each odd one, removed, or there twice."""
        for text in shapes.damages(shape.reply):
            TARGETS[shape.target](shape.written(text))

    @pytest.mark.parametrize("shape", shapes.FOLLOWING, ids=str)
    def test_behind_a_completed_bulk(self, shape):
        """The same for the answer that decides what `completed` is worth."""
        for text in shapes.damages(shape.reply):
            TARGETS[shape.target](shapes.behind_completed(shape, text))

    @given(st.sampled_from(shapes.SHAPES), st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
    def test_in_several_places(self, shape, numbers):
        """And in the status and the headers."""
        data = shape.written(json.dumps(shape.reply).encode())
        for number in numbers:
            data = mutated(data, number, 8_192)
        TARGETS[shape.target](data)

    @given(
        st.sampled_from(shapes.SHAPES),
        st.sampled_from(STATUSES) | st.integers(0, 9_999),
        st.sampled_from(["application/json", "text/html; charset=utf-8", "text/plain", "", "\x1b[31m"]),
    )
    def test_under_any_status_and_content_type(self, shape, status, kind):
        """Only a 200, and for Cloudflare any 2xx, can hold a result."""
        body = json.dumps(shape.reply).encode()
        data = f"ask: {shape.ask}\nstatus: {status}\ncontent-type: {kind}\n\n".encode() + body
        TARGETS[shape.target](data)
