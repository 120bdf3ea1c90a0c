"""The contract: the promises that every adapter keeps, as tests that an adapter's own tests inherit.

::

    from bulkstatus.testing.contract import AdapterContract
    from bulkstatus_acme.fake import AcmeFake

    class TestAcme(AdapterContract):
        fake = AcmeFake

Each promise is a test; one that is broken says what was seen and what to do. Promises about capabilities that the
adapter does not declare, or that its fake cannot show, are not collected. pytest's summary tells the level reached.
"""

try:
    import pytest as _pytest  # noqa: F401 - to say what to install where it is not
except ImportError as _error:
    raise ImportError(
        "the contract suite runs on pytest, which is not installed: pip install 'bulkstatus[testing]'"
    ) from _error

from bulkstatus.testing.contract._answers import AnswerPromises as _Answers
from bulkstatus.testing.contract._pages import PagePromises as _Pages
from bulkstatus.testing.contract._states import StatePromises as _States

__all__ = ["AdapterContract"]


class AdapterContract(_States, _Answers, _Pages):
    """All promises. Set `fake` to the fake's class; its `adapter(url)` gives the adapter that is tried.

    Override the class methods `make_fake` and `make_adapter` where a fake needs more than a clock.
    """
