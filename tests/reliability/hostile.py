"""Texts that attack whoever shows them, providers that tell nothing else, and what must be left of them."""

import json
import unicodedata
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

from bulkstatus.testing import FakeResponse, Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake
from bulkstatus_weavr.fake import WeavrFake

KEY, TOKEN, EDGE = "S3CR3T-hostile-key", "S3CR3T-hostile-token", "S3CR3T-hostile-edge"
COLOUR = "38;5;201m"  # no colour of ours
TEXTS = {
    "colour": f"\x1b[{COLOUR}red\x1b[0m",
    "erased screen": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil.test\x1b\\x\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;AAAA\x07",
    "device control": "\x1bPq#0\x1b\\",
    "title that never ends": "\x1b]0;never ended",
    "C1 colour": f"\x9b{COLOUR}red",
    "C1 title": "\x9d0;owned\x9c",
    "carriage return": "a\rFAKE succeeded",
    "backspace": "failed\b\b\b\b\b\bsucceeded",
    "bell": "ding\x07",
    "row of its own": "a\nFAKE ROW",
    "tab": "a\tb",
    "NUL": "a\0b",
    "DEL": "a\x7fb",
    "next line": "a\x85b",
    "line separators": "a\u2028b\u2029c",
    "bidi override": "a\u202eb\u2066c\u2069",
    "bidi mark": "a\u200fb\u061cc",
    "zero width": "pay\u200bments\u2060\ufeff",
    "soft hyphen": "pay\u00adments",
    "tags": "a\U000e0041\U000e007f",
    "annotation": "a\ufff9b\ufffbc",
    "markup that closes": "[/foo]",
    "markup of a link": "[link=https://evil.test]x[/link]",
    "markup of a style": "[bold red]x",
    "code of an emoji": ":warning:",
    "two words": "a b --config evil.toml",
    "formula": '=HYPERLINK("http://evil.test","x")',
    "markup of a page": "<script>alert(1)</script>",
    "a megabyte": "A" * 1_000_000,
    "combining marks": "a" + "\u0301" * 10_000,
}
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def left_raw(text, allowed="\n"):
    """The characters of `text` that move, hide or reorder others, but for those `allowed`."""
    return {char for char in set(text) - set(allowed) if unicodedata.category(char) in _HIDDEN}


class Hostile(WeavrFake):
    """A Weavr whose operations say nothing that is harmless, and that refuses the bulk 999 in such words."""

    def answer(self, request):
        if request.path.endswith("/999"):
            said = " ".join(text for text in TEXTS.values() if len(text) < 1_000)
            return FakeResponse.json({"code": said[:60], "message": said}, 400)
        if not request.path.endswith("/operations"):
            return super().answer(request)
        rows = [
            {
                "operationId": text[:40],
                "sequence": number,
                "method": text[:40],
                "path": text,
                "status": text[:60],
                "requestPayload": text,
                "responsePayload": json.dumps({"errorCode": text[:60], "message": text}),
            }
            for number, text in enumerate(TEXTS.values())
        ]
        return FakeResponse.json({"count": len(rows), "operations": rows, "responseCount": len(rows)})


@contextmanager
def hostile_world(folder):
    """Two providers that attack with all they say: their configuration, a journal, and the references of their bulks."""
    weavr, edge = Hostile(api_key=KEY, auth_token=TOKEN), CloudflareFake(token=EDGE)
    refs = []
    for number, text in enumerate(TEXTS.values()):
        weavr.add(str(number), Life.of((0, text[:80])), operations=3, action=text)
        edge.add(f"{number:032x}", Life.of((0, "failed")), error=text)
        refs += [f"payments:{number}", f"edge:{number:032x}"]
    weavr.add("500", Life.of((0, "COMPLETED")), operations=3, action="=1\n")
    with ExitStack() as stack:
        urls = [stack.enter_context(serve(fake)) for fake in (weavr, edge)]
        config = folder / "bulkstatus.toml"
        config.write_text(
            f'[sources.payments]\nprovider = "weavr"\nbase_url = "{urls[0]}"\napi_key = "env:WEAVR_API_KEY"\n'
            f'auth_token = "env:WEAVR_AUTH_TOKEN"\nbudget = []\n\n[sources.edge]\nprovider = "cloudflare"\n'
            f'base_url = "{urls[1]}"\naccount_id = "023e105f4ecef8ad9ca31a8372d0c353"\ntoken = "env:CF_TOKEN"\n'
            "budget = []\n"
        )
        variables = {
            "BULKSTATUS_CONFIG": str(config),
            "BULKSTATUS_JOURNAL": str(folder / "journal.db"),
            "WEAVR_API_KEY": KEY,
            "WEAVR_AUTH_TOKEN": TOKEN,
            "CF_TOKEN": EDGE,
        }
        yield SimpleNamespace(config=config, variables=variables, refs=refs, weavr=weavr, edge=edge)


def commands(refs):
    """Every command that shows what a provider said, as its words without `-o`."""
    return {
        "get": ["get", *refs, "payments:999"],
        "list": ["list"],
        "list of tracked": ["list", "--tracked"],
        "operations": ["operations", "payments:1", "--show-payload"],
        "explain": ["explain", refs[0]],
        "explain an error": ["explain", refs[21]],
        "history": ["history", refs[0]],
        "history of an error": ["history", refs[21]],
        "changes": ["changes"],
        "wait": ["wait", *refs, "payments:500", "payments:999", "--until", "any", "--fresh"],
        "wait for bad ends": ["wait", *refs[1::2], "--fresh"],
        "watch": ["watch", *refs[1::2], "--fresh"],
        "wait for a time": ["wait", *refs, "--timeout", "0.5", "--fresh"],
        "export of steps": ["journal", "export"],
        "export of bulks": ["journal", "export", "bulks"],
        "resume": ["resume", "--list"],
        "sources": ["sources"],
    }
