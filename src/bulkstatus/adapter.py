"""The door for adapter authors: all that an adapter needs, and nothing that sends.

An adapter is a frozen struct of settings (`Adapter`). Its methods return a `Call`: a `Request`, and the function that
reads the `Response`. See the guide on writing an adapter in the documentation.
"""

from bulkstatus._adapter import (
    Adapter,
    BaseUrl,
    Confirms,
    IdGrammar,
    Limit,
    Listing,
    Metered,
    Operations,
    Probe,
    Remaining,
)
from bulkstatus._auth import Auth, all_of, api_key, app_token, basic, bearer
from bulkstatus._call import MIB, Call, ListQuery, OperationQuery, Page, RawRows, Request, Response
from bulkstatus._drift import is_collecting, new_fields, note_members, unknown_word, unreadable_time
from bulkstatus._model import BulkOperation, BulkStatus, Counts, State
from bulkstatus._records import Notes, PageReader, Reader, Row, Rows, is_unread
from bulkstatus._reply import (
    bad_shape,
    decode,
    retry_after,
    says_missing,
    status_error,
    whole_seconds,
    wrong_id,
)
from bulkstatus._secrets import Secret, SecretText, as_secret
from bulkstatus._states import Decision, Vocabulary, can_be_count, clean_counts
from bulkstatus._text import printable
from bulkstatus._times import (
    EpochUnit,
    Times,
    column_of_epochs,
    column_of_texts,
    from_epoch,
    from_epochs,
    from_epochs_of,
    from_text,
)
from bulkstatus._urls import check_base_url

__all__ = [
    "MIB",
    "Adapter",
    "Auth",
    "BaseUrl",
    "BulkOperation",
    "BulkStatus",
    "Call",
    "Confirms",
    "Counts",
    "Decision",
    "EpochUnit",
    "IdGrammar",
    "Limit",
    "ListQuery",
    "Listing",
    "Metered",
    "Notes",
    "OperationQuery",
    "Operations",
    "Page",
    "PageReader",
    "Probe",
    "RawRows",
    "Reader",
    "Remaining",
    "Request",
    "Response",
    "Row",
    "Rows",
    "Secret",
    "SecretText",
    "State",
    "Times",
    "Vocabulary",
    "all_of",
    "api_key",
    "app_token",
    "as_secret",
    "bad_shape",
    "basic",
    "bearer",
    "can_be_count",
    "check_base_url",
    "clean_counts",
    "column_of_epochs",
    "column_of_texts",
    "decode",
    "from_epoch",
    "from_epochs",
    "from_epochs_of",
    "from_text",
    "is_collecting",
    "is_unread",
    "new_fields",
    "note_members",
    "printable",
    "retry_after",
    "says_missing",
    "status_error",
    "unknown_word",
    "unreadable_time",
    "whole_seconds",
    "wrong_id",
]
