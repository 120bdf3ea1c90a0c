"""A keyring in memory, in place of its owner's."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import keyring
import keyring.backend

Entry = str | Exception | Callable[[], str]


class Ring(keyring.backend.KeyringBackend):
    """Gives what stands in `entries` for a service: a password, an error to raise, or a function to call."""

    priority = 1

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        super().__init__()
        self.entries = dict(entries)

    def get_password(self, service, username):
        entry = self.entries.get(service)
        if isinstance(entry, Exception):
            raise entry
        return entry() if callable(entry) else entry

    def set_password(self, service, username, password):
        raise NotImplementedError

    def delete_password(self, service, username):
        raise NotImplementedError


@contextmanager
def ring_of(entries: Mapping[str, Entry]) -> Generator[Ring]:
    """That keyring, for as long as the block lasts."""
    before = keyring.get_keyring()
    ring = Ring(entries)
    keyring.set_keyring(ring)
    try:
        yield ring
    finally:
        keyring.set_keyring(before)
