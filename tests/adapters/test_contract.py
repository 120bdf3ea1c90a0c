"""Our own adapters keep the contract that a stranger's is held to: the very same tests, and no exceptions."""

from bulkstatus.testing.contract import AdapterContract
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_druid.fake import DruidFake
from bulkstatus_openai.fake import OpenAIFake
from bulkstatus_weavr.fake import WeavrFake


class TestWeavr(AdapterContract):
    """Two headers, pages by offset, epoch milliseconds, counts."""

    fake = WeavrFake


class TestCloudflare(AdapterContract):
    """One call, no list, no counts."""

    fake = CloudflareFake


class TestDruid(AdapterContract):
    """Tokens, a list in one answer, results by cursor."""

    fake = DruidFake


class TestOpenAI(AdapterContract):
    """A list by cursor, epoch seconds with a field for each step, counts, no operations."""

    fake = OpenAIFake
