"""The package that `bulkstatus new-adapter` writes: its names, its refusals, what is in it."""

import ast
import os
import re
import sys
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from bulkstatus import ConfigError
from bulkstatus.cli import _scaffold, main
from bulkstatus.cli._scaffold import Names
from guide import complaints

MARK = "FILL IN:"
LONGEST = "w" + "0123456789" * 3 + "9"
FILES = {
    ".gitignore",
    "README.md",
    "docs/acme_pay.md",
    "pyproject.toml",
    "src/bulkstatus_acme_pay/__init__.py",
    "src/bulkstatus_acme_pay/_adapter.py",
    "src/bulkstatus_acme_pay/_wire.py",
    "src/bulkstatus_acme_pay/fake.py",
    "src/bulkstatus_acme_pay/py.typed",
    "tests/test_adapter.py",
    "tests/test_contract.py",
}


def files_in(folder):
    """Every file below `folder`, with its text."""
    return {
        file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()
    }


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package for a provider whose word has two parts."""
    folder = tmp_path_factory.mktemp("scaffold")
    _scaffold.new_adapter("acme_pay", folder)
    return folder / "bulkstatus-acme-pay"


@pytest.fixture(scope="module", params=["acme", LONGEST])
def any_package(request, tmp_path_factory):
    """The package for a short word, and for the longest."""
    folder = tmp_path_factory.mktemp("scaffold")
    _scaffold.new_adapter(request.param, folder)
    (found,) = folder.iterdir()
    return found


def test_it_writes_a_package_and_says_what_comes_next(tmp_path, monkeypatch, capsys):
    """The folder on stdout, for a script; the next three commands on stderr, for a person."""
    monkeypatch.chdir(tmp_path)
    assert main(["new-adapter", "acme"]) == 0
    said = capsys.readouterr()
    assert said.out == "bulkstatus-acme\n"
    commands = [line.strip() for line in said.err.splitlines() if line.startswith("  ")]
    assert len(commands) == 3
    assert commands[0] == "cd bulkstatus-acme"
    assert [command.partition(" ")[2] for command in commands[1:]] == [
        "-m pip install -e '.[test]'",
        "-m pytest",
    ]
    assert MARK in said.err
    assert (tmp_path / "bulkstatus-acme" / "pyproject.toml").is_file()


@pytest.mark.parametrize("beside", [True, False])
def test_the_commands_are_for_the_python_that_runs_this(tmp_path, monkeypatch, capsys, beside):
    """`python` where that is the one of this environment, its path where it is another's."""
    folder = Path(sys.executable).parent if beside else tmp_path
    monkeypatch.setattr(_scaffold.shutil, "which", lambda name: str(folder / name))
    _scaffold.new_adapter("acme", tmp_path)
    python = "python" if beside else sys.executable
    assert f"  {python} -m pytest\n" in capsys.readouterr().err


def test_into_names_the_folder_that_it_is_made_in(tmp_path, capsys):
    """`--into` may begin with `~`, and the next commands lead there."""
    (Path.home() / "src").mkdir()
    assert main(["new-adapter", "acme", "--into", "~/src"]) == 0
    target = Path.home() / "src" / "bulkstatus-acme"
    assert target.is_dir()
    assert f"  cd {target}\n" in capsys.readouterr().err


def test_every_name_follows_from_the_word(package):
    """Entry points, distribution, import name, class and files."""
    assert set(files_in(package)) == FILES
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["name"] == "bulkstatus-acme-pay"
    assert project["entry-points"] == {
        "bulkstatus.adapters": {"acme_pay": "bulkstatus_acme_pay:AcmePay"},
        "bulkstatus.fakes": {"acme_pay": "bulkstatus_acme_pay.fake:AcmePayFake"},
    }
    assert f"bulkstatus>={version('bulkstatus')}" in project["dependencies"]
    assert project["optional-dependencies"] == {"test": ["bulkstatus[testing]"]}
    assert Names.of("acme_pay") == ("acme_pay", "bulkstatus-acme-pay", "bulkstatus_acme_pay", "AcmePay")


def test_no_placeholder_is_left(any_package):
    """All is filled in that follows from the word, in names and in texts; the rest is Python as it stands."""
    for name, text in files_in(any_package).items():
        assert "$" not in name
        assert re.findall(r"\$(?!\.)", text) == [], name
        if name.endswith(".py"):
            ast.parse(text)


def test_the_places_to_fill_in_are_marked(package):
    """One word finds them, each says in a line what is wanted; and none is in what nobody edits."""
    marked = {name: text.count(MARK) for name, text in files_in(package).items() if MARK in text}
    code = "src/bulkstatus_acme_pay"
    assert marked == {
        "README.md": 1,
        "docs/acme_pay.md": 1,
        "pyproject.toml": 1,
        f"{code}/_adapter.py": 8,
        f"{code}/_wire.py": 3,
        f"{code}/fake.py": 1,
        "tests/test_adapter.py": 1,
    }


def test_the_page_that_leads_through_it_names_every_place(package):
    """docs/writing-an-adapter.md has each mark's first words."""
    page = (Path(__file__).parents[2] / "docs" / "writing-an-adapter.md").read_text()
    code = [text for name, text in files_in(package).items() if name.endswith(".py") and "src/" in name]
    marks = [mark for text in code for mark in re.findall(rf"# {MARK} ([a-z ]+)[.,:]", text)]
    assert len(marks) == 10
    for mark in marks:
        assert f"`{MARK} {mark}`" in page


@pytest.mark.skipif(find_spec("ruff") is None, reason="needs ruff, of the group `check`")
def test_it_is_clean_to_the_formatter_and_the_linter(any_package):
    """By its own configuration, however long the word is."""
    assert complaints(any_package, "--check") == ""


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("", "cannot be a provider's word"),
        ("Acme", "lower-case"),
        ("1acme", "a letter first"),
        ("acme-pay", "underscores"),
        ("acme_", "single underscores"),
        ("_acme", "a letter first"),
        ("acme__pay", "single underscores"),
        ("acmé", "lower-case letters"),
        ("acme\n", "cannot be"),
        ("../acme", "cannot be"),
        ("a" * 33, "up to 32"),
        ("class", "a word of Python's own"),
        ("page", "a class Page"),
        ("fake", "a class Fake"),
        ("job", "a class Job"),
    ],
)
def test_a_word_that_cannot_be_one_is_refused(tmp_path, word, why):
    """The error says what a word is like, and nothing is written."""
    with pytest.raises(ConfigError, match=re.escape(why)):
        _scaffold.new_adapter(word, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["weavr", "cloudflare", "druid"])
def test_a_word_that_is_taken_is_refused(tmp_path, capsys, word):
    """The error says by which distribution; it is wrong usage."""
    assert main(["new-adapter", word, "--into", str(tmp_path)]) == 2
    assert f"'{word}' is taken by bulkstatus {version('bulkstatus')}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_there_is_left_as_it_is(tmp_path, capsys, kind):
    """A folder with something in it, a file, a link that leads nowhere: refused, and untouched."""
    target = tmp_path / "bulkstatus-acme"
    if kind == "folder":
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    elif kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    assert main(["new-adapter", "acme", "--into", str(tmp_path)]) == 2
    assert "already there and was left as it is" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(tmp_path):
    """Somebody made it for this."""
    (tmp_path / "bulkstatus-acme").mkdir()
    _scaffold.new_adapter("acme", tmp_path)
    assert (tmp_path / "bulkstatus-acme" / "pyproject.toml").is_file()
    assert [each.name for each in tmp_path.iterdir()] == ["bulkstatus-acme"]


def test_a_folder_that_is_not_there_is_not_made(tmp_path, capsys):
    """A slip in `--into` makes no folders."""
    assert main(["new-adapter", "acme", "--into", str(tmp_path / "typo")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_to_is_said(tmp_path, capsys):
    """With the system's reason."""
    tmp_path.chmod(0o500)
    assert main(["new-adapter", "acme", "--into", str(tmp_path)]) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_nothing_behind(tmp_path, monkeypatch, error):
    """Neither a folder with half a package in it, nor the one that it was prepared in."""
    written = []

    def write(self, text, **options):
        if len(written) == 5:
            raise error
        written.append(self)
        with self.open("w", **options) as stream:
            stream.write(text)

    monkeypatch.setattr(Path, "write_text", write)
    with pytest.raises((ConfigError, KeyboardInterrupt)) as caught:
        _scaffold.new_adapter("acme", tmp_path)
    assert len(written) == 5
    assert isinstance(caught.value, KeyboardInterrupt) or "No space left" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_appears_meanwhile_is_left_as_it_is(tmp_path, monkeypatch):
    """Between the look and the last step there is no gap: nothing is written into what another process made."""
    target = tmp_path / "bulkstatus-acme"
    plain = Path.rename

    def rename(self, other):
        target.mkdir()
        (target / "theirs").touch()
        return plain(self, other)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ConfigError, match="already there"):
        _scaffold.new_adapter("acme", tmp_path)
    assert [file.name for file in target.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [target]


def test_files_are_made_as_the_owner_has_files_made(tmp_path):
    """With the modes of the umask, not those of a private temporary folder."""
    before = os.umask(0o022)
    try:
        _scaffold.new_adapter("acme", tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "bulkstatus-acme").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bulkstatus-acme" / "README.md").stat().st_mode & 0o777 == 0o644


def test_no_template_holds_a_machine_path_or_an_account():
    """What is handed to strangers is of nobody: addresses are of the reserved `.example`."""
    folder = Path(_scaffold.__file__).parent / "scaffold"
    for file in folder.rglob("*.tmpl"):
        text = file.read_text()
        assert "/home/" not in text
        assert re.findall(r"https?://(?![\w.$]*\.example\b)\S+", text) == [], file
