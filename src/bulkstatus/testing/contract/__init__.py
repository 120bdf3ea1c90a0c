"""The contract: the promises that every adapter keeps, as tests that an adapter's own tests inherit.

::

    from bulkstatus.testing.contract import AdapterContract
    from bulkstatus_acme.fake import AcmeFake

    class TestAcme(AdapterContract):
        fake = AcmeFake

Each promise is a test; one that is broken says what was seen and what to do. Promises about capabilities that the
adapter does not declare, or that its fake cannot show, are not collected. Nothing is sent to anybody but the fake.

pytest's summary tells the level that an adapter keeps:

1. one bulk: its word, times, counts and errors; ids, credentials, settings;
2. lists and operations, as far as the adapter declares them;
3. the clock: the fake's `states` put bulks in every state, so waits, outages and bulks that vanish are tried.
"""

from importlib.util import find_spec as _find_spec

if _find_spec("pytest") is None:
    raise ImportError(
        "the contract suite runs on pytest, which is not installed: pip install 'bulkstatus[testing]'"
    )

from bulkstatus.testing.contract._answers import AnswerPromises as _Answers
from bulkstatus.testing.contract._clients import ClientPromises as _Clients
from bulkstatus.testing.contract._inside import OperationPromises as _Operations
from bulkstatus.testing.contract._pages import PagePromises as _Pages
from bulkstatus.testing.contract._privacy import PrivacyPromises as _Privacy
from bulkstatus.testing.contract._requests import RequestPromises as _Requests
from bulkstatus.testing.contract._settings import SettingPromises as _Settings
from bulkstatus.testing.contract._states import StatePromises as _States
from bulkstatus.testing.contract._values import ValuePromises as _Values
from bulkstatus.testing.contract._waiting import WaitPromises as _Waits

__all__ = ["AdapterContract"]


# pytest takes the tests of the last base first: what the others stand on comes before them.
class AdapterContract(
    _Waits, _Clients, _Operations, _Pages, _Settings, _Privacy, _Requests, _Answers, _Values, _States
):
    """All promises. Set `fake` to the fake's class; its `adapter(url)` gives the adapter that is tried.

    Override the class methods `make_fake` and `make_adapter` where a fake needs more than a clock.
    """
