"""What to do about a broken promise: one sentence each, and where to read on."""

from typing import NamedTuple

GUIDE = "docs/writing-an-adapter.md"


class Todo(NamedTuple):
    """What mends it, and the heading in the guide on writing an adapter that says why."""

    what: str
    heading: str = "What to keep to"

    def __str__(self) -> str:
        return f"{self.what} ({GUIDE}, '{self.heading}')"


WORDS = Todo(
    "look the word up with Vocabulary.decide or Vocabulary.read, give it self.state_map, pass its evidence on, and "
    "keep the word in native_state as it came"
)
STATES = Todo(
    "add the word to the adapter's Vocabulary, or to the fake's `states` under the state that it stands for"
)
MEMBERS = Todo(
    "describe the record by a struct whose members all have defaults, and read it with Reader, or a page of them "
    "with PageReader: what is odd then costs only itself"
)
ERRORS = Todo(
    "read bodies with decode, Reader or PageReader, and raise status_error for every status that is no success: "
    "they raise errors of bulkstatus.errors and nothing else"
)
SUCCESS = Todo(
    "let Vocabulary.decide settle word and counts together, and answer what cannot be read with bad_shape: success "
    "is said only where the provider says so"
)
FAILURE = Todo(
    "let Vocabulary.decide settle word and counts together: failed is said where nothing succeeded, since what failed is "
    "submitted again"
)
SOURCE = Todo(
    "take source from response.source, observed_at from response.received_at and provider from the class"
)
NO_END = Todo("take the state from the provider's word alone: what is missing or odd ends no bulk")
TIMES = Todo(
    "read times with from_text or from_epoch, and add the sentence that they return to the evidence: they give UTC "
    "or None, and never raise"
)
COUNTS = Todo(
    "keep counts as int | None without a default of 0, hand them to Vocabulary.decide as they came, with unread= for "
    "what could not be read (is_unread), and to the record through clean_counts"
)
STATUS = Todo(
    "raise status_error(response, own=...) for every status that is no success, and take nothing from its body but "
    "code and detail"
)
OWN = Todo(
    "pass status_error own=True only where the body has the form in which the provider tells its errors; gateways "
    "answer 404 in forms of their own"
)
KNOWN_FORM = Todo(
    "recognise the form in which the provider says that there is no such bulk, and pass status_error own=True for it"
)
EMPTY = Todo(
    "raise bad_shape for an answer without the members that make it one, such as an array of rows, and for one in "
    "the form of the provider's errors"
)
PAUSE = Todo(
    "raise status_error for a 429: it reads Retry-After in both forms; pass pause= only for a header of the provider's own"
)
WRONG_ID = Todo("compare the id in the answer with the one asked for, and raise wrong_id when they differ")
IDS = Todo(
    "declare the narrowest IdGrammar that the provider documents, and make requests with Request.to, which writes an "
    "id as one segment of the path"
)
SECRETS = Todo(
    "annotate every credential SecretText, and send it only by the schemes of auth(): bearer, api_key, app_token",
    "Authentication",
)
ECHO = Todo(
    "pass the provider's words only as detail= and code= of status_error, and say nothing of requests: what credentials "
    "they repeat is then taken out",
    "Authentication",
)
URLS = Todo("annotate every URL among the settings BaseUrl")
ORIGIN = Todo(
    "make requests with Request.to on one of base_urls(), never on an address out of an answer; a cursor goes into the "
    "query"
)
READ_ONLY = Todo("ask with GET: Request.to without form=; only auth() posts, for a token", "Authentication")
ROWS = Todo(
    "read pages with PageReader, and count rows without an id in left_out, or give them an empty id: one odd row then "
    "costs only itself, and the list is known not to be complete"
)
PAGES = Todo(
    "set next and cursor where the provider gives a cursor; at, offset, received and total where it counts, with "
    "moving=True where rows may shift; and rows_per_page to what is asked for",
)
CURSOR = Todo(
    "raise bad_shape for a cursor that is there and is none: is_unread(rows.notes, ...) tells it from one that is absent"
)
LISTING = Todo(
    "give back every row that the query asks for, read with the same function as status; more rows are allowed, the "
    "facade filters",
    "Capabilities",
)
CONFIRM = Todo(
    "mark rows that say less than status as provisional=True, and return from confirm(row) the call that settles them",
    "Capabilities",
)
OPERATIONS = Todo(
    "follow the provider's paging in operations() as in listing(), and put payloads beside the fields with "
    ".carrying(request=..., response=..., raw=...)",
    "Capabilities",
)
RAW = Todo(
    "attach the record as received: the whole body with .carrying(raw=...), the rows of a page with rows.attach(items)"
)
BUDGET = Todo(
    "declare limits (tightest window first), poll_floor, poll_ceiling, counted_by and account_by as the guide says",
    "Saying how often it may be asked",
)
SETTINGS = Todo(
    "keep settings as plain typed fields of the struct, normalised in __post_init__ after super().__post_init__()"
)
FOUND = Todo(
    "write one word in the adapter's provider, the fake's word and both entry points", "Making it found"
)
FAKE = Todo(
    "let the fake answer as the provider's documentation says, and its adapter(base_url) build an adapter that it accepts"
)
UNREADABLE = Todo(
    "make the paths, the names of members and the credentials of the adapter and of the fake the same, each as the "
    "provider's documentation has it"
)
FIRST = Todo("mend what the first failure says; this promise was not tried", "The contract")
WAIT = Todo(
    "let the fake answer for a bulk whose word is None as the provider does for one it does not know, and the adapter "
    "raise NotFound for that"
)
CREDENTIALS = Todo(
    "let the fake refuse all credentials but its own, as the provider does, and the adapter raise AuthError for that",
    "Authentication",
)
UNREAD = Todo(
    "read the member as the provider's documentation has it (times: the unit in from_epoch, the format in from_text), or "
    "let the fake write it so"
)
METERED = Todo(
    "return None from remaining() for headers that cannot be read", "Saying how often it may be asked"
)
