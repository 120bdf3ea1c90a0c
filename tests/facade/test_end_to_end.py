"""From a file to answers: three providers on loopback sockets, one configuration, secrets in the environment."""

from contextlib import ExitStack

import pytest

from bulkstatus import AsyncClient, Client, ConfigError, Policy, State
from bulkstatus.testing import Fault, Life, ManualClock, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_weavr.fake import WeavrFake

CONFIGURATION = """
[sources.payments]
provider = "weavr"
base_url = "{payments}"
api_key = "env:WEAVR_API_KEY"
auth_token = "env:WEAVR_AUTH_TOKEN"

[sources.edge]
provider = "cloudflare"
base_url = "{edge}"
account_id = "023e105f4ecef8ad9ca31a8372d0c353"
token = "env:CLOUDFLARE_TOKEN"

[sources.crm]
provider = "druid"
api_base_url = "{crm}"
client_id = "env:DRUID_CLIENT_ID"
client_secret = "env:DRUID_CLIENT_SECRET"
state_map = {{ archiving = "running" }}
"""
EDGE_ID = "7be1c3f09a5d4e21b6c8d7f00a94e152"


class Providers:
    """Three fakes on one clock, each on a socket of its own, and the configuration that leads to them."""

    def __init__(self, stack, folder):
        self.clock = ManualClock()
        self.weavr = WeavrFake(clock=self.clock)
        self.cloudflare = CloudflareFake(clock=self.clock)
        self.druid = DruidFake(clock=self.clock)
        self.weavr.add("10", Life.of((0, "SUBMITTED"), (10, "RUNNING"), (60, "COMPLETED")), operations=10_000)
        self.weavr.add("11", Life.of((0, "RUNNING"), (20, "PAUSED")), operations=50)
        self.cloudflare.add(EDGE_ID, Life.of((0, "pending"), (5, "running"), (30, "failed")))
        self.druid.add("019a-1", Life.of((0, "processing"), (15, "completed")), failed=1)
        self.druid.add("019a-2", Life.of((0, "processing"), (15, "archiving")))
        fakes = {"payments": self.weavr, "edge": self.cloudflare, "crm": self.druid}
        self.switches = {name: stack.enter_context(ExitStack()) for name in fakes}
        urls = {name: self.switches[name].enter_context(serve(fake)) for name, fake in fakes.items()}
        self.path = folder / "bulkstatus.toml"
        self.path.write_text(CONFIGURATION.format(**urls))

    def switch_off(self, name):
        """Close the socket and all its connections."""
        self.switches[name].close()


@pytest.fixture
def providers(tmp_path, monkeypatch):
    """The three, switched on."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    for variable, value in {
        "WEAVR_API_KEY": "weavr-demo-key",
        "WEAVR_AUTH_TOKEN": "weavr-demo-token",
        "CLOUDFLARE_TOKEN": "cloudflare-demo-token",
        "DRUID_CLIENT_ID": "druid-demo-client",
        "DRUID_CLIENT_SECRET": "druid-demo-secret",
    }.items():
        monkeypatch.setenv(variable, value)
    with ExitStack() as stack:
        yield Providers(stack, tmp_path)


def states(report):
    """The states of a report by ref."""
    return {str(status.ref): status.state for status in report}


def test_all_bulks_of_all_providers_stand_in_one_list(providers):
    """And again later, when they have moved on."""
    with Client.from_config(providers.path) as client:
        first = client.list()
        assert states(first) == {
            "payments:10": "queued",
            "payments:11": "running",
            "crm:019a-1": "running",
            "crm:019a-2": "running",
        }
        assert first.complete
        assert [skipped.source for skipped in first.skipped] == ["edge"]
        providers.clock.advance(25)
        assert states(client.list()) == {
            "payments:10": "running",
            "payments:11": "paused",
            "crm:019a-1": "succeeded",  # the list alone does not read the failed results
            "crm:019a-2": "running",  # pinned by state_map
        }


def test_one_bulk_is_followed_to_its_end(providers):
    """Pending, running, failed: three answers, and no exception for the failure."""
    with Client.from_config(providers.path) as client:
        seen = []
        for _ in range(4):
            seen.append(client.get(f"edge:{EDGE_ID}").state)
            providers.clock.advance(10)
        last = client.get(f"edge:{EDGE_ID}")
    assert seen == [State.QUEUED, State.RUNNING, State.RUNNING, State.FAILED]
    assert last.error
    assert last.finished_at.timestamp() == pytest.approx(providers.clock.now - 10, abs=1)


def test_many_bulks_of_all_providers_are_asked_for_at_once(providers):
    """In the order asked for; `completed` is decided by the failed results."""
    providers.clock.advance(70)
    wanted = ["crm:019a-1", f"edge:{EDGE_ID}", "payments:10", "payments:11", "payments:404"]
    with Client.from_config(providers.path) as client:
        report = client.get_many(wanted)
    assert states(report) == dict(zip(wanted, ["partial", "failed", "succeeded", "paused"], strict=False))
    assert [str(status.ref) for status in report] == wanted[:-1]
    assert [(failure.kind, failure.id) for failure in report.failures] == [("not_found", "404")]


@pytest.mark.parametrize("kind", ["blocking", "async"])
@pytest.mark.unrecorded
def test_ten_thousand_operations_over_a_socket(providers, kind):
    """Complete, in order, and each page asked for once."""
    import anyio

    providers.clock.advance(70)
    if kind == "blocking":
        with Client.from_config(providers.path) as client:
            found = [operation.sequence for operation in client.operations("payments:10")]
    else:

        async def main():
            async with AsyncClient.from_config(providers.path) as client:
                return [operation.sequence async for operation in client.operations("payments:10")]

        found = anyio.run(main)
    assert found == list(range(1, 10_001))
    assert len(providers.weavr.requests) == 100


@pytest.mark.parametrize("off", ["payments", "crm"])
def test_a_provider_that_is_switched_off_between_two_questions(providers, off):
    """The others answer on; the one that is gone is named; when it is back, so are its bulks."""
    with Client.from_config(providers.path, policy=Policy(request_timeout=5)) as client:
        assert client.list().complete
        providers.switch_off(off)
        report = client.list()
        assert {status.source for status in report} == {"payments", "crm"} - {off}
        assert [(failure.source, failure.kind) for failure in report.failures] == [(off, "unavailable")]
        assert client.get(f"edge:{EDGE_ID}").state is State.QUEUED


def test_a_provider_that_stumbles_is_not_noticed(providers, monkeypatch):
    """One dropped connection, one 500 and one 429 in a row cost retries, and no answer."""
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._retry._BASE_THROTTLED", 0.001)
    for fault in (Fault(drop=True), Fault(status=500), Fault(status=429, headers={"Retry-After": "0"})):
        providers.weavr.fail(fault)
    with Client.from_config(providers.path) as client:
        assert client.get("payments:11").state is State.RUNNING
    assert len(providers.weavr.requests) == 4


def test_a_token_that_the_provider_forgot_is_renewed(providers):
    """The question is answered all the same."""
    with Client.from_config(providers.path) as client:
        assert client.get("crm:019a-1").state is State.RUNNING
        providers.druid.revoke()
        assert client.get("crm:019a-1").state is State.RUNNING
    posts = [request for request in providers.druid.requests if request.method == "POST"]
    assert len(posts) == 2


def test_no_secret_travels_where_it_does_not_belong(providers):
    """Each provider sees its own credentials, in the place its documentation names, and those of nobody else."""
    with Client.from_config(providers.path) as client:
        client.list()
        client.get(f"edge:{EDGE_ID}")
    seen = {name: str(fake.requests) for name, fake in vars(providers).items() if hasattr(fake, "requests")}
    for name, log in seen.items():
        for other in {"weavr", "cloudflare", "druid"} - {name}:
            assert f"{other}-demo" not in log
    assert "weavr-demo-key" in seen["weavr"]
    gets = [request for request in providers.druid.requests if request.method == "GET"]
    assert gets
    assert "druid-demo-secret" not in str(gets)


def test_a_missing_secret_is_said_before_anything_is_sent(providers, monkeypatch):
    """With the file and the line."""
    monkeypatch.delenv("CLOUDFLARE_TOKEN")
    with pytest.raises(ConfigError, match=r"bulkstatus\.toml:12: sources\.edge\.token .*CLOUDFLARE_TOKEN"):
        Client.from_config(providers.path)
    assert providers.weavr.requests == []
