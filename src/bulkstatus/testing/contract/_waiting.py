"""Promises about waiting: ends, throttling, outages, and bulks that the provider does not know."""

from typing import Any

from bulkstatus import Client, Outcome, Verdict
from bulkstatus.adapter import State
from bulkstatus.errors import BulkStatusError
from bulkstatus.testing._fake import Fake, Fault, Life, Stage
from bulkstatus.testing._transport import FakeTransport
from bulkstatus.testing._virtual import VirtualTime, virtual_clients
from bulkstatus.testing.contract import _todo
from bulkstatus.testing.contract._driver import SOURCE, Broken
from bulkstatus.testing.contract._promise import CLOCK, Promises, promise
from bulkstatus.testing.contract._questions import not_found
from bulkstatus.testing.contract._scenes import TOTAL, failing, name_of

_PATIENCE = 3_600.0
_PAUSE = 7


class WaitPromises(Promises):
    """What a wait comes to, on a clock that the suite moves."""

    @promise(_todo.WAIT, level=CLOCK)
    def test_a_wait_tells_how_a_bulk_ends(self) -> None:
        """A wait ends with the bulk, in the verdict that its last word stands for."""
        for state, word in self.fake.states.items():
            if state.is_terminal:
                outcome = self._waited((0.0, self._going()), (30.0, word), failed=failing(state))
                _expect(outcome, Verdict(str(state)), f"a bulk that ends in {word!r}")

    @promise(_todo.WAIT, level=CLOCK)
    def test_a_bulk_that_never_was_is_not_found(self) -> None:
        """A wait for a bulk that the provider never knows ends in `not_found`."""
        _expect(self._waited((0.0, None)), Verdict.NOT_FOUND, "a bulk that the provider never knows")

    @promise(_todo.WAIT, level=CLOCK)
    def test_a_bulk_that_vanishes_is_gone(self) -> None:
        """A wait for a bulk that was seen, and is then forgotten by the provider, ends in `gone`."""
        outcome = self._waited((0.0, self._going()), (40.0, None))
        _expect(outcome, Verdict.GONE, "a bulk that the provider forgets")

    @promise(_todo.WAIT, level=CLOCK)
    def test_a_bulk_that_is_not_known_yet_is_waited_for(self) -> None:
        """A bulk that the provider knows some seconds late is waited for until its end."""
        state, word = self._end()
        outcome = self._waited((0.0, None), (5.0, self._going()), (30.0, word), failed=failing(state))
        _expect(outcome, Verdict(str(state)), "a bulk that is known after 5 s")

    @promise(_todo.PAUSE, level=CLOCK)
    def test_throttling_is_waited_out(self) -> None:
        """A 429 with Retry-After is heeded, and the wait goes on to the bulk's end."""
        state, word = self._end()
        slow = Fault(status=429, headers={"Retry-After": str(_PAUSE)}, times=2)
        outcome = self._waited((0.0, self._going()), (30.0, word), failed=failing(state), fault=slow)
        _expect(outcome, Verdict(str(state)), "a bulk whose provider throttles twice")

    @promise(_todo.STATUS, level=CLOCK)
    def test_an_outage_is_waited_out(self) -> None:
        """An outage with a gateway's page, and a connection that breaks, end no wait."""
        state, word = self._end()
        for fault in (
            Fault(status=502, body=b"<html>", headers={"Content-Type": "text/html"}, times=3),
            Fault(status=404, body=b'{"message": "no Route matched"}', times=3),
            Fault(drop=True, times=3),
        ):
            outcome = self._waited((0.0, self._going()), (30.0, word), failed=failing(state), fault=fault)
            _expect(outcome, Verdict(str(state)), "a bulk whose provider is down for a while")

    @promise(_todo.KNOWN_FORM, level=CLOCK)
    def test_one_miss_ends_no_wait(self) -> None:
        """A bulk that the provider does not know for one moment is not gone."""
        state, word = self._end()
        miss = not_found(self.bench())
        fault = Fault(status=miss.status, body=miss.body, headers={"Content-Type": "application/json"})
        outcome = self._waited((0.0, self._going()), (30.0, word), failed=failing(state), fault=fault)
        _expect(outcome, Verdict(str(state)), "a bulk that is unknown for one moment")

    def _going(self) -> str:
        """A word by which a bulk goes on: the one for running, where there is one."""
        states = {state: word for state, word in self.fake.states.items() if not state.is_terminal}
        if not states:
            raise Broken("the fake's `states` have no word by which a bulk goes on", _todo.FAKE)
        return states.get(State.RUNNING) or next(iter(states.values()))

    def _end(self) -> tuple[State, str]:
        """The first end that the provider has a word for."""
        for state, word in self.fake.states.items():
            if state.is_terminal:
                return state, word
        raise Broken("the fake's `states` have no word by which a bulk ends", _todo.FAKE)

    def _waited(
        self, *stages: tuple[float, str | None], failed: int = 0, fault: Fault | None = None
    ) -> Outcome:
        """What a wait comes to for a bulk with this life; `fault` happens to its first requests."""
        self.bench()  # an adapter that reads nothing is told so, and not that its waits go wrong
        clock = VirtualTime()
        fake: Fake[Any] = self.make_fake(clock)
        adapter = self.make_adapter(fake)
        id = fake.bulk_id(0)
        fake.place(id, Life.of(*(Stage(*stage) for stage in stages)), total=TOTAL, failed=failed)
        if fault is not None:
            fault.where = id if id in adapter.status(id).request.path else ""
            fake.fail(fault)
        transport = FakeTransport(dict.fromkeys(adapter.base_urls(), fake))
        with virtual_clients(clock), Client({SOURCE: adapter}, transport=transport) as client:
            try:
                return client.wait(f"{SOURCE}:{id}", timeout=_PATIENCE)
            except BulkStatusError as error:
                raise Broken(f"the wait itself raised {type(error).__name__}") from None


def _expect(outcome: Outcome, verdict: Verdict, what: str) -> None:
    found = outcome.results[0]
    if found.verdict is not verdict:
        state = name_of(None if found.status is None else found.status.state)
        why = "" if found.failure is None else f", and why it could not look is `{found.failure.kind}`"
        raise Broken(
            f"a wait for {what} ends in `{found.verdict}`, not `{verdict}`; its last state is {state}{why}"
        )
