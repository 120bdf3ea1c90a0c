"""A first package for an adapter of somebody's own, written from the templates in `scaffold/`."""

import errno
import keyword
import os
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from string import Template
from typing import NamedTuple

from bulkstatus import ConfigError, __version__, adapter, printable, providers, testing
from bulkstatus.cli._output import lines
from bulkstatus.cli._text import say, tell

_WORD = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_LONGEST_WORD = 32
# What the templates call things, beside what they import.
_USED = frozenset({"Fault", "Job", "JobCounts", "JobPage", "Members", "Refusal"})
_SUFFIX = ".tmpl"


class Names(NamedTuple):
    """What all is called after a provider's word."""

    word: str
    """`acme_pay`"""
    distribution: str
    """`bulkstatus-acme-pay`, also the folder."""
    package: str
    """`bulkstatus_acme_pay`"""
    name: str
    """`AcmePay`, the adapter."""

    @classmethod
    def of(cls, word: str) -> "Names":
        """The names that follow from `word`. Raises ConfigError for one that cannot be a provider's word, or is taken."""
        _check(word)
        name = "".join(part.capitalize() for part in word.split("_"))
        if {name, f"{name}Bulk", f"{name}Fake"} & {*adapter.__all__, *testing.__all__, *_USED}:
            raise ConfigError(f"{word!r} would make a class {name}, and there is one; choose a longer word")
        for taken in providers():
            if taken.word == word:
                owner = printable(taken.distribution, 200)
                raise ConfigError(f"provider {word!r} is taken by {owner}; choose another word")
        return cls(word, f"bulkstatus-{word.replace('_', '-')}", f"bulkstatus_{word}", name)

    def values(self) -> Mapping[str, str]:
        """What the templates' placeholders stand for."""
        return {
            "word": self.word,
            "distribution": self.distribution,
            "package": self.package,
            "Name": self.name,
            "VARIABLE": self.word.upper(),
            "host": self.word.replace("_", "-"),
            "version": __version__,
        }


def _check(word: str) -> None:
    if _WORD.fullmatch(word) is None or len(word) > _LONGEST_WORD:
        raise ConfigError(
            f"{word[:64]!r} cannot be a provider's word: write up to {_LONGEST_WORD} lower-case letters and digits, "
            "a letter first, with single underscores between them, such as acme or acme_pay"
        )
    if keyword.iskeyword(word):
        raise ConfigError(f"{word!r} is a word of Python's own; choose another one")


def new_adapter(word: str, into: Path) -> None:
    """Write the package of an adapter for provider `word` into a new folder in `into`; all of it, or nothing.

    Raises ConfigError for a word that cannot be or is taken, for a folder that is there and not empty, and where
    nothing can be written.
    """
    names = Names.of(word)
    into = into.expanduser()
    if not into.is_dir():
        raise ConfigError(f"there is no folder {_shown(into)}; make it first, or leave --into out")
    folder = into / names.distribution
    try:
        _write(names, folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and os.path.lexists(folder):
            raise ConfigError(
                f"{_shown(folder)} is already there and was left as it is; move it away, or name another folder with --into"
            ) from None
        raise ConfigError(f"cannot write {_shown(folder)}: {error.strerror}") from None
    lines([_shown(folder)])
    say("a package for an invented provider, whole and tested. Next:")
    for command in _next(folder):
        tell(f"  {command}", limit=4096)
    say("then fill in what is marked, as docs/writing-an-adapter.md has it: grep -rnI 'FILL IN:' .")


def _write(names: Names, folder: Path) -> None:
    """Write beside `folder` first: it is there as a whole or not at all, and never in the place of something else."""
    draft = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    values = names.values()
    draft.mkdir()
    try:
        for path, text in _templates(files("bulkstatus.cli") / "scaffold", PurePosixPath()):
            file = draft / Template(str(path)).substitute(values)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(text).substitute(values), encoding="utf-8", newline="\n")
        with suppress(OSError):
            folder.rmdir()  # goes only when it is empty; a rename takes the place of an empty folder on POSIX alone
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _templates(folder: Traversable, at: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    """Every template with the path that what is made of it has, placeholders in both."""
    for entry in folder.iterdir():
        path = at / entry.name
        if entry.is_dir():
            yield from _templates(entry, path)
        elif entry.name.endswith(_SUFFIX):
            yield path.with_name(entry.name.removesuffix(_SUFFIX)), entry.read_text(encoding="utf-8")


def _next(folder: Path) -> tuple[str, str, str]:
    """The commands that install the package and run its tests, for the Python that runs this."""
    on_path = shutil.which("python")
    same = on_path is not None and Path(on_path).parent == Path(sys.executable).parent
    python = "python" if same else shlex.quote(sys.executable)
    return (
        f"cd {shlex.quote(str(folder))}",
        f"{python} -m pip install -e '.[test]'",
        f"{python} -m pytest",
    )


def _shown(folder: Path) -> str:
    return printable(str(folder), 4096)
