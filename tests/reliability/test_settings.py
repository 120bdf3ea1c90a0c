"""Configurations that are none, and numbers on the command line that make no sense: refused before anything is sent."""

import os
import sys
from pathlib import Path

import pytest

from bulkstatus import (
    Client,
    ConfigError,
    Policy,
    PollPolicy,
    default_path,
    read_config,
)
from bulkstatus.adapter import Limit
from bulkstatus.cli import main
from bulkstatus.testing import Life, load_fake, serve
from bulkstatus_weavr import Weavr
from commands import command
from support import Plain, Scripted, ask

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")
CANARY = "S3CR3T-canary"
GOOD = """\
[sources.payments]
provider = "weavr"
base_url = "http://127.0.0.1:1/multi"
api_key = "env:KEY"
auth_token = "env:KEY"
"""


@pytest.fixture(autouse=True)
def key(monkeypatch):
    """The secret that configurations refer to."""
    monkeypatch.setenv("KEY", "weavr-key")


@pytest.fixture
def write(tmp_path):
    """A function that writes a configuration and gives its path."""

    def write(text, name="bulkstatus.toml", mode=0o600):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


@pytest.fixture
def here(capsys):
    """Run the command line in this process: its code, and what it wrote to stderr. Nothing may come to stdout."""

    def call(*words):
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        assert said.out == ""
        assert CANARY not in said.err
        return code, said.err

    return call


# --- configurations ---

ONE = '[sources.payments]\nprovider = "weavr"\n'
# What is in the file, the line that is named (None: there is none), and words of the error.
BROKEN = {
    "not closed": ("# x\n[sources.payments\n", 2, "not valid TOML"),
    "no value": (ONE + "base_url =\n", 3, "not valid TOML"),
    "at its end": (ONE + 'base_url = "x', 3, "not valid TOML"),
    "twice": (ONE + "a = 1\na = 2\n", 4, "not valid TOML"),
    "no number": (ONE + "a = 99" + "9" * 5_000, None, "not valid TOML"),
    "nested": (ONE + "a = " + "[" * 100_000, None, "nested too deeply"),
    "nested tables": (ONE + "a = " + "{x=" * 100_000, None, "nested too deeply"),
    "a control character": (ONE + "a = '\x1b[31m'\n", 3, r"\x1b"),
    "NUL": (ONE + "\0", 3, "not valid TOML"),
    "JSON": ('{"sources": {}}', 1, "not valid TOML"),
    "empty": ("", None, "no sources"),
    "no section": ("sources = 5\n", None, "no sources"),
    "a list": ("[[sources]]\nprovider = 'weavr'\n", None, "no sources"),
    "unknown section": (f"# x\n\n[sorces.payments]\ntoken = '{CANARY}'\n", 3, "did you mean 'sources'"),
    "unknown key at the top": (f"colour = '{CANARY}'\n{GOOD}", 1, "'colour' is not a section"),
    "unknown key": (GOOD + f'bas_url = "{CANARY}"\n', 6, "did you mean 'base_url'"),
    "unknown key, ESC in it": (GOOD + '"\\u001b[31m" = 1\n', None, r"sources.payments.\x1b[31m is not"),
    "a long key": (GOOD + f"{'k' * 10_000} = 1\n", 6, "is not a setting of weavr"),
    "missing key": (ONE + 'base_url = "http://127.0.0.1:1"\n', 1, "api_key is missing"),
    "wrong type": (GOOD.replace('"http://127.0.0.1:1/multi"', "5"), 3, "base_url"),
    "wrong type of a secret": (GOOD.replace('"env:KEY"', "true"), 4, "api_key must be a text"),
    "wrong type of a table": (GOOD + "state_map = 5\n", 6, "state_map"),
    "wrong state": (GOOD + 'state_map = { X = "runing" }\n', 6, "state_map"),
    "wrong choice": (GOOD + 'epoch_unit = "minutes"\n', 6, "epoch_unit"),
    "wrong budget": (GOOD + "budget = [{requests = 0, seconds = 1}]\n", 6, "budget"),
    "unknown provider": (
        '[sources.payments]\nprovider = "wever"\n',
        2,
        "installed: cloudflare, druid, openai, weavr",
    ),
    "no provider": ("[sources.a]\nbase_url = 'x'\n", 1, "provider is missing"),
    "a source that is none": ("[sources]\na = 5\n", 2, "not a section"),
    "a path for a name": ('[sources."../x"]\nprovider = "weavr"\n', 1, "a source is named with letters"),
    "ESC for a name": ('[sources."\\u001b[2J"]\nprovider = "weavr"\n', None, r"sources.\x1b[2J"),
    "a long name": (f'[sources.{"n" * 100_000}]\nprovider = "weavr"\n', None, "64 at most"),
    "10 MB": (b"#" * 10_000_000, None, "larger than 1 MiB"),
    "not UTF-8": (ONE.encode() + b"a = '\xff'\n", 3, "not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), 1, "not UTF-8"),
}


@pytest.mark.row("B95")
@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_configuration_is_refused_with_its_line(write, here, case):
    """Exit code 2, and one line that leads to the place and the nearest right word."""
    text, line, words = BROKEN[case]
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path).build()
    message = str(caught.value)
    assert message.startswith(str(path) if line is None else f"{path}:{line}: ")
    assert words in message
    assert message.isprintable()
    assert len(message) < 1_000
    code, err = here("get", "payments:1", "--config", path)
    assert code == 2
    assert words in err


@pytest.mark.row("B95")
@pytest.mark.parametrize("case", ["not closed", "unknown key", "not UTF-8", "nested"])
def test_a_process_refuses_what_is_no_configuration(write, case):
    """The same for whoever calls the program."""
    text, line, words = BROKEN[case]
    done = command("list", "--config", write(text), canaries=[CANARY])
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert line is None or f"bulkstatus.toml:{line}:" in done.err


@posix
@pytest.mark.row("B95")
@pytest.mark.parametrize(
    "what", ["folder", "pipe", "/dev/zero", "/dev/null", "loop", "missing", "~nobody-of-this-name/x"]
)
def test_a_configuration_that_is_no_file_is_refused_at_once(tmp_path, here, what):
    """A pipe that nobody writes to is not waited for."""
    path = Path(what) if what.startswith(("/", "~")) else tmp_path / "odd"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "loop":
        path.symlink_to(path)
    for words in (["get", "payments:1"], ["config", "check"]):
        code, err = here(*words, "--config", path)
        assert code == 2
        assert path.name in err


@posix
@pytest.mark.row("B95")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o602, 0o666])
def test_a_secret_in_clear_is_refused_where_others_may_read_it(write, here, mode):
    """References may be read by anybody."""
    path = write(GOOD.replace("env:KEY", CANARY, 1) + "allow_plaintext = true\n", mode=mode)
    code, err = here("get", "payments:1", "--config", path)
    assert code == 2
    assert "bulkstatus.toml:4: sources.payments.api_key" in err
    assert f"chmod 600 {path}" in err
    path.chmod(0o600)
    assert read_config(path).build()["payments"].api_key.reveal() == CANARY
    assert list(read_config(write(GOOD, mode=mode)).build()) == ["payments"]


@pytest.mark.row("B95")
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"XDG_CONFIG_HOME": "."},
        {"XDG_CONFIG_HOME": None, "HOME": "."},
        {"BULKSTATUS_CONFIG": "bulkstatus.toml"},
        {"BULKSTATUS_CONFIG": "~/bulkstatus.toml", "HOME": "."},
    ],
    ids=str,
)
@pytest.mark.unrecorded
def test_a_configuration_in_the_working_directory_is_not_picked_up(tmp_path, environment):
    """A folder somebody checked out runs no command and sends no credential, whatever the environment says."""
    for name in (
        *("bulkstatus.toml", ".bulkstatus.toml"),
        *("bulkstatus/bulkstatus.toml", ".config/bulkstatus/bulkstatus.toml"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            '[sources.edge]\nprovider = "cloudflare"\naccount_id = "023e105f4ecef8ad9ca31a8372d0c353"\n'
            f'token = "cmd:/usr/bin/touch {tmp_path / "ran"}"\nbase_url = "http://127.0.0.1:1"\n'
        )
    done = command("get", "edge:1", "--no-journal", cwd=tmp_path, **environment)
    assert (done.code, done.out) == (2, "")
    assert "configuration" in done.err or "BULKSTATUS_CONFIG" in done.err
    assert not (tmp_path / "ran").exists()


@posix
@pytest.mark.row("B95")
def test_a_full_path_is_taken_from_the_environment(write, monkeypatch):
    """As is one below the user's folder; `--config` may name any file."""
    path = write(GOOD)
    monkeypatch.setenv("BULKSTATUS_CONFIG", str(path))
    assert default_path() == path
    (Path.home() / "mine.toml").write_text(GOOD)
    monkeypatch.setenv("BULKSTATUS_CONFIG", "~/mine.toml")
    assert list(read_config().sources) == ["payments"]
    monkeypatch.chdir(path.parent)
    assert list(read_config("bulkstatus.toml").sources) == ["payments"]


@pytest.mark.row("B95")
def test_a_byte_order_mark_is_not_part_of_a_configuration(write):
    """Editors of Windows write it."""
    assert list(read_config(write(b"\xef\xbb\xbf" + GOOD.encode())).sources) == ["payments"]


# --- durations ---

NO_DURATIONS = [
    "banana", "-1", "0", "0s", "0h0m", "0.0", "-0", "nan", "inf", "-inf", "1e400", "1e3", "9" * 400, "400d", "", " ",
    " 30", "30 ", "30 m", "30x", "m", "1h-30m", "30m1h", "+30", "0x1e", "1_000", "1,5", "30M", "\u0663\u0660",
    "\uff13\uff10", "30\x00m", "\x1b[31m", ".5", "5.",
]  # fmt: skip


@pytest.fixture
def config(write):
    """A configuration of a provider that nobody can reach."""
    return write(GOOD)


@pytest.mark.row("B96", "B97")
@pytest.mark.parametrize(
    "text", [text for text in NO_DURATIONS if text != "1h30"], ids=lambda text: ascii(text)[:20]
)
@pytest.mark.unrecorded
def test_what_is_no_duration_is_wrong_usage(here, config, text):
    """Exit code 2 with an example, at every command that takes one, and nothing is asked."""
    for words in (
        ["get", "payments:1", "--timeout"],
        ["wait", "payments:1", "--timeout"],
        ["wait", "payments:1", "--blind-after"],
        ["watch", "payments:1", "--timeout"],
        ["list", "--timeout"],
        ["list", "--older-than"],
        ["operations", "payments:1", "--timeout"],
        ["explain", "payments:1", "--timeout"],
        ["sources", "--timeout"],
    ):
        code, err = here(*words[:-1], f"{words[-1]}={text}", "--config", config)
        assert code == 2, words
        assert err.isprintable() or err.endswith("\n")
        assert f"{words[-1]} " in err
        assert "1h30m" in err
        assert "\x1b" not in err


@pytest.mark.row("B96")
@pytest.mark.parametrize("text", ["30", "30s", "30m", "1h30m", "1.5", "0.5h", "365d"])
def test_a_duration_is_taken(tmp_path, capsys, text):
    """A bare number is of seconds."""
    fake = load_fake("weavr")(api_key="weavr-key", auth_token="weavr-key")
    fake.add("1", Life.of((0, "COMPLETED")))
    with serve(fake) as url:
        path = tmp_path / "bulkstatus.toml"
        path.write_text(GOOD.replace("http://127.0.0.1:1/multi", url))
        code = main(
            ["wait", "payments:1", "--timeout", text, "-o", "name", "--config", str(path), "--no-journal"]
        )
    assert (code, capsys.readouterr().out) == (0, "payments:1\n")


@pytest.mark.row("B96", "B97")
@pytest.mark.parametrize("text", ["banana", "0"])
def test_a_process_refuses_what_is_no_duration(config, text):
    """Nothing is asked: whoever stands behind that address would be told by exit code 7."""
    done = command("wait", "payments:1", "--timeout", text, "--config", config)
    assert (done.code, done.out) == (2, "")
    assert "1h30m" in done.err


@pytest.mark.row("B96")
def test_no_number_is_taken_from_the_environment(tmp_path):
    """What a flag says is said on the command line, where one sees it."""
    fake = load_fake("weavr")(api_key="weavr-key", auth_token="weavr-key")
    fake.add("1", Life.of((0, "COMPLETED")))
    with serve(fake) as url:
        path = tmp_path / "bulkstatus.toml"
        path.write_text(GOOD.replace("http://127.0.0.1:1/multi", url))
        words = ("TIMEOUT", "INTERVAL", "CONCURRENCY", "CONNECTIONS", "PACE", "BLIND_AFTER", "OUTPUT")
        variables = {f"BULKSTATUS_{word}": "banana" for word in words}
        done = command("get", "payments:1", "-o", "name", "--config", path, "--no-journal", **variables)
    assert (done.code, done.out) == (0, "payments:1\n")


@pytest.mark.row("B97")
@pytest.mark.parametrize("flag", ["--interval", "--concurrency", "--connections"])
@pytest.mark.parametrize("value", ["0", "0.0001", "1000000"])
def test_the_rate_of_questions_is_no_flag(here, config, flag, value):
    """It is the provider's limits and `--pace` that decide."""
    code, err = here("wait", "payments:1", flag, value, "--config", config)
    assert code == 2
    assert flag in err


@pytest.mark.row("B97")
@pytest.mark.parametrize(
    "words",
    [
        ["operations", "payments:1", "--limit", "0"],
        ["operations", "payments:1", "--limit", "-1"],
        ["operations", "payments:1", "--limit", "1e3"],
        ["operations", "payments:1", "--sequence", "-1"],
        ["changes", "--limit", "0"],
        ["wait", "payments:1", "--pace", "0"],
        ["wait", "payments:1", "--until", "0"],
    ],
    ids=" ".join,
)
def test_a_number_that_makes_no_sense_is_wrong_usage(here, config, words):
    """Exit code 2, and nothing is asked."""
    code, err = here(*words, *([] if words[0] == "changes" else ["--config", config]))
    assert code == 2
    assert err


@pytest.mark.row("B97")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Policy(connections=0), "from 1 to 32, not 0"),
        (lambda: Policy(connections=-1), "from 1 to 32"),
        (lambda: Policy(connections=33), "from 1 to 32"),
        (lambda: Policy(connections=1_000_000), "from 1 to 32"),
        (lambda: Policy(connections=True), "from 1 to 32"),
        (lambda: Policy(connections=1.5), "from 1 to 32"),
        (lambda: Policy(attempts=0), "from 1 up"),
        (lambda: Policy(request_timeout=0), "above 0"),
        (lambda: Policy(request_timeout=float("nan")), "above 0"),
        (lambda: Policy(patience=float("inf")), "above 0"),
        (lambda: Policy(patience="30"), "above 0"),
        (lambda: PollPolicy(base=0), "above 0"),
        (lambda: PollPolicy(floor=-1), "above 0"),
        (lambda: PollPolicy(ceiling=float("nan")), "above 0"),
        (lambda: PollPolicy(floor=5, ceiling=1), "above PollPolicy.ceiling"),
        (lambda: PollPolicy(jitter=1), "below 1"),
        (lambda: Limit(0, 1), "1 request or more"),
        (lambda: Limit(1, 0), "above 0"),
        (lambda: Limit(1, float("nan")), "above 0"),
    ],
)
def test_a_policy_of_numbers_that_make_no_sense_is_refused(make, words):
    """In code, where numbers can be given: at most 32 requests of one source at once."""
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.row("B97")
@pytest.mark.parametrize("eagerness", [0.0001, 1e-9])
def test_no_poll_policy_asks_more_often_than_the_adapter_allows(eagerness):
    """Its floor is of a second or more; Weavr's is of two."""
    policy = PollPolicy(base=eagerness, floor=eagerness, jitter=0.0)
    for adapter in (Plain, Weavr):
        wait = policy.interval(0.0, floor=adapter.poll_floor, ceiling=adapter.poll_ceiling)
        assert wait >= adapter.poll_floor >= 1.0


@pytest.mark.row("B97")
@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "30", True])
def test_a_timeout_that_is_none_is_refused_by_both_clients(kind, timeout):
    """Before anything is sent."""
    fake = Scripted()
    with serve(fake) as url:
        with Client({"plain": Plain(base_url=url)}) as client, pytest.raises(ConfigError, match="above 0"):
            client.get("plain:a1", timeout=timeout)
        with pytest.raises(ConfigError, match="above 0"):
            ask(kind, Plain(base_url=url), policy=Policy(patience=timeout))
    assert fake.requests == []
