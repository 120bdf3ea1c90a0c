"""The configuration file: what it may hold, where it is looked for, and errors that lead to the right line."""

import os
import shutil
import signal
import sys
import threading
import tracemalloc
from pathlib import Path
from unittest.mock import Mock

import keyring.errors
import pytest

from bulkstatus import AuthError, Client, ConfigError, State, default_path, read_config
from bulkstatus.testing import FakeTransport, Life
from bulkstatus_cloudflare import Cloudflare
from bulkstatus_druid import Druid
from bulkstatus_weavr import Weavr
from bulkstatus_weavr.fake import WeavrFake
from rings import ring_of
from support import run_script

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

GOOD = """\
# who pays whom
[sources.payments]
provider = "weavr"
base_url = "https://sandbox.weavr.test/multi"
api_key = "env:WEAVR_API_KEY"
auth_token = "env:WEAVR_AUTH_TOKEN"

[sources.edge]
provider = "cloudflare"
account_id = "023e105f4ecef8ad9ca31a8372d0c353"
token = "file:token"

[sources.crm]
provider = "druid"
api_base_url = "https://graph.druid.test"
auth_base_url = "https://auth.druid.test"
client_id = "id"
client_secret = "secret"
allow_plaintext = true
state_map = { archiving = "running" }
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """The secrets that the file refers to."""
    monkeypatch.setenv("WEAVR_API_KEY", "weavr-key")
    monkeypatch.setenv("WEAVR_AUTH_TOKEN", "weavr-token")
    (tmp_path / "token").write_text("cloudflare-token\n")


@pytest.fixture
def write(tmp_path):
    """A function that writes a configuration and gives its path."""

    def write(text=GOOD, name="bulkstatus.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o600)
        return path

    return write


def weavr(*lines, plaintext=False):
    """A configuration with one Weavr whose settings are `lines`, beginning in line 3."""
    allow = "allow_plaintext = true\n" if plaintext else ""
    return '[sources.payments]\nprovider = "weavr"\n' + "\n".join(lines) + "\n" + allow


def with_token(reference):
    """A configuration with one Cloudflare whose token is `reference`, in line 4."""
    account = 'account_id = "023e105f4ecef8ad9ca31a8372d0c353"'
    return f'[sources.edge]\nprovider = "cloudflare"\n{account}\ntoken = {reference!r}\n'


def token_of(path):
    """The token that a configuration written by `with_token` leads to."""
    adapter = read_config(path).build()["edge"]
    return adapter.token.reveal()


def test_three_sources_become_three_adapters(write):
    """Each with the settings of its table and the secrets it refers to."""
    config = read_config(write())
    assert config.sources == {"payments": "weavr", "edge": "cloudflare", "crm": "druid"}
    built = config.build()
    assert [type(adapter) for adapter in built.values()] == [Weavr, Cloudflare, Druid]
    assert built["payments"].base_url == "https://sandbox.weavr.test/multi"
    assert built["payments"].api_key.reveal() == "weavr-key"
    assert built["edge"].token.reveal() == "cloudflare-token"
    assert built["crm"].client_secret.reveal() == "secret"
    assert built["crm"].state_map == {"archiving": State.RUNNING}
    assert "weavr-key" not in repr(built)


def test_only_the_sources_that_are_wanted_are_looked_at(write, monkeypatch):
    """A secret that is missing for one source does not stop another."""
    monkeypatch.delenv("WEAVR_API_KEY")
    assert list(read_config(write()).build(["crm"])) == ["crm"]
    with pytest.raises(ConfigError, match=r"did you mean 'payments'"):
        read_config(write()).build(["payment"])


def test_a_client_is_made_from_the_file(write):
    """The shortest way from a file to an answer."""
    fake = WeavrFake(api_key="weavr-key", auth_token="weavr-token")
    fake.add("1", Life.of((0, "RUNNING")))
    transport = FakeTransport({"https://sandbox.weavr.test/multi": fake})
    with Client.from_config(write(), sources=["payments"], transport=transport) as client:
        assert client.get("payments:1").state is State.RUNNING
        assert client.sources == {"payments": "weavr"}


# --- errors that lead to the line ---

URL = 'base_url = "https://sandbox.weavr.test/multi"'
KEY = 'api_key = "env:WEAVR_API_KEY"'
TOKEN = 'auth_token = "env:WEAVR_AUTH_TOKEN"'

WRONG = {
    "unknown key": (
        weavr(URL, KEY, TOKEN, 'bas_url = "x"'),
        6,
        "payments.bas_url",
        "did you mean 'base_url'",
    ),
    "nothing like it": (weavr(URL, KEY, TOKEN, "zzz = 1"), 6, "payments.zzz", "there are: "),
    "missing key": (weavr(URL, KEY), 1, "payments", "auth_token is missing"),
    "wrong type": (weavr("base_url = 5", KEY, TOKEN), 3, "payments.base_url", "str"),
    "a secret of the wrong type": (weavr(URL, "api_key = 5", TOKEN), 4, "payments.api_key", ""),
    "a table for a text": (weavr(URL, KEY, "auth_token = { a = 1 }"), 5, "payments.auth_token", ""),
    "a state that is none": (
        weavr(URL, KEY, TOKEN, 'state_map = { ARCHIVING = "runing" }'),
        6,
        "payments.state_map",
        "runing",
    ),
    "a word for a choice": (weavr(URL, KEY, TOKEN, 'epoch_unit = "minutes"'), 6, "epoch_unit", ""),
    "unknown provider": ('[sources.a]\nprovider = "wever"\n', 2, "sources.a", "weavr"),
    "no provider": ("[sources.a]\nbase_url = 'x'\n", 1, "sources.a", "provider is missing"),
    "provider misspelt": ("[sources.a]\nprovidr = 'weavr'\n", 1, "sources.a", "providr"),
    "provider of a wrong type": ("[sources.a]\nprovider = 5\n", 1, "sources.a", "provider"),
    "plaintext of a wrong type": (
        weavr(URL, KEY, TOKEN, 'allow_plaintext = "yes"'),
        None,
        "allow_plaintext",
        "true",
    ),
    "a source that is no table": ("[sources]\na = 5\n", None, "sources.a", "not a section"),
    "variable not set": (weavr(URL, 'api_key = "env:NOBODY"', TOKEN), 4, "payments.api_key", "NOBODY"),
    "http": (weavr('base_url = "http://api.weavr.test"', KEY, TOKEN), 3, "base_url", "https"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_file_line_and_key(write, case):
    """Whoever reads the error can go to the line and knows what to write there."""
    text, line, key, words = WRONG[case]
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path).build()
    message = str(caught.value)
    assert message.startswith(f"{path}:{'' if line is None else f'{line}:'}")
    assert key in message
    assert words in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no sources"),
        ("sources = 5", "no sources"),
        ("[sources]", "no sources"),
        ("[sorces.a]\nprovider = 'weavr'", "did you mean 'sources'"),
        ("colour = true\n" + GOOD, "colour"),
        ("[sources.a\n", "not valid TOML"),
        ("[sources.a]\nx = 1\nx = 2", "not valid TOML"),
        (b"[sources.a]\nx = '\xff'", "not UTF-8"),
        (b"\xff\xfe[\x00", "not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(write, text, words):
    """Broken, empty, misspelt, not text, too large."""
    path = write(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_leads_to_the_command_that_writes_one(tmp_path):
    """A newcomer is told what to do."""
    with pytest.raises(ConfigError, match="config init"):
        read_config(tmp_path / "none.toml")


def test_a_line_is_found_among_several_sources(write):
    """The same key in another section, a quoted name, a comment: the right line all the same."""
    lines = [
        "# [sources.b]",
        "[sources.a]",
        'provider = "weavr"',
        'base_url = "https://a.test"',
        'api_key = "env:WEAVR_API_KEY"',
        'auth_token = "env:WEAVR_AUTH_TOKEN"',
        '[ sources."b" ]',
        'provider="weavr"',
        "base_url = 'ftp://b.test'",
        'api_key = "env:WEAVR_API_KEY"',
        'auth_token = "env:WEAVR_AUTH_TOKEN"',
    ]
    path = write("\n".join(lines))
    with pytest.raises(ConfigError, match=r"bulkstatus\.toml:9:"):
        read_config(path).build()


# --- base URLs ---


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://h.test/", "https://h.test"),
        ("https://h.test:8443/multi/", "https://h.test:8443/multi"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("https://xn--exmple-cua.test", "https://xn--exmple-cua.test"),
    ],
)
def test_a_base_url_that_is_safe_is_taken(write, url, plain):
    """Https anywhere, http on loopback."""
    assert read_config(write(weavr(f'base_url = "{url}"', KEY, TOKEN))).build()["payments"].base_url == plain


# --- secrets ---


def test_a_file_is_named_from_the_folder_of_the_configuration_or_in_full(write, tmp_path, monkeypatch):
    """Not from the working directory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "token").write_text("wrong")
    monkeypatch.chdir(elsewhere)
    assert token_of(write(with_token("file:token"))) == "cloudflare-token"
    assert token_of(write(with_token(f"file:{tmp_path / 'token'}"))) == "cloudflare-token"
    (Path.home() / "token").write_text("home")
    assert token_of(write(with_token("file:~/token"))) == "home"


@pytest.mark.parametrize(
    ("value", "words"), [(None, "not set"), ("", "empty"), ("a b", "blank"), ("a\nb", "line break")]
)
def test_a_variable_that_holds_no_credential_is_refused(write, monkeypatch, value, words):
    """Not set and empty are told apart."""
    if value is None:
        monkeypatch.delenv("WEAVR_API_KEY")
    else:
        monkeypatch.setenv("WEAVR_API_KEY", value)
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(write(weavr(URL, KEY, TOKEN))).build()
    assert "bulkstatus.toml:4:" in str(caught.value)


@pytest.mark.parametrize("text", ["S3CR3T-in-clear", "vault:S3CR3T", "op://x/S3CR3T", "ENV:S3CR3T"])
def test_a_secret_in_clear_needs_to_be_allowed(write, text):
    """The error lists the references there are, and does not repeat the secret."""
    with pytest.raises(
        ConfigError, match="env:NAME, file:PATH, cmd:COMMAND or keyring:SERVICE/USER"
    ) as caught:
        read_config(write(with_token(text))).build()
    assert "S3CR3T" not in str(caught.value)
    allowed = with_token(text) + "allow_plaintext = true\n"
    assert token_of(write(allowed)) == text


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("cmd:no-such-program-anywhere", "no-such-program-anywhere"),
        ("cmd:echo 'unbalanced", "cannot be read"),
        ("cmd:", "nothing behind"),
        ("cmd:  ", "nothing behind"),
        ("keyring:svc", "SERVICE/USER"),
        ("keyring:/me", "SERVICE/USER"),
    ],
)
def test_a_reference_that_can_never_work_is_refused_at_once(write, reference, words):
    """It is found without running anything, so that a check of the configuration finds it."""
    path = write(with_token("env:X").replace("'env:X'", f'"{reference}"'))
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(path).build()
    assert "edge.token" in str(caught.value)


def test_a_secret_in_the_place_of_a_variable_is_not_repeated(write):
    """What does not look like the name of a variable may be the secret itself."""
    with pytest.raises(ConfigError, match="environment variable that is not set") as caught:
        read_config(write(with_token("env:sk_live_S3CR3T"))).build()
    assert "S3CR3T" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "-a", "a:b", "x" * 65, "é"])
def test_a_source_has_a_name_that_can_be_one(write, name):
    """The check of a configuration finds it, not the first question."""
    with pytest.raises(ConfigError, match="a source is named with"):
        read_config(write(f'[sources."{name}"]\nprovider = "weavr"\n'))


def test_plaintext_is_allowed_for_one_source_only(write):
    """Another source still needs references."""
    account = 'provider = "cloudflare"\naccount_id = "023e105f4ecef8ad9ca31a8372d0c353"\ntoken = "clear"\n'
    path = write(f"[sources.a]\n{account}allow_plaintext = true\n[sources.b]\n{account}")
    with pytest.raises(ConfigError, match=r"sources\.b\.token"):
        read_config(path).build()


def _python(code):
    return f"cmd:{sys.executable} -c '{code}'"


def test_a_command_is_run_when_its_secret_is_needed_and_not_before(write, tmp_path):
    """Reading a configuration starts no programs."""
    marker = tmp_path / "ran"
    command = _python(f'open("{marker}", "w"); print("tok")')
    path = write(with_token("env:X").replace("'env:X'", f"'''{command}'''"))
    secret = read_config(path).build()["edge"].token
    assert not marker.exists()
    assert secret.reveal() == "tok"
    assert secret.renewable


@posix
@pytest.mark.parametrize(
    "command", ["echo $HOME", "echo a;b", "echo `id`", "echo *", "echo a|cat", "echo 'a>b'"]
)
def test_no_shell_sees_a_command(write, command):
    """What a shell would expand is passed on as it stands."""
    path = write(f"{with_token('env:X')}".replace("'env:X'", f'"cmd:{command}"'))
    secret = read_config(path).build()["edge"].token
    shown = command.removeprefix("echo ").replace("'", "")
    assert secret.reveal() == shown


@posix
def test_a_command_without_end_is_ended_before_it_fills_the_memory(write, monkeypatch):
    """No more is kept than a credential can hold."""
    monkeypatch.setattr("bulkstatus._program._TIMEOUT", 5.0)
    secret = read_config(write(with_token(f"cmd:{shutil.which('yes')}"))).build()["edge"].token
    tracemalloc.start()
    with pytest.raises((AuthError, ConfigError), match="64 KiB"):
        secret.reveal()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize("reference", ["cmd:", "cmd:  ", "keyring:", "file:", "env:"])
def test_a_reference_to_nothing_is_refused(write, reference):
    """A scheme alone names nothing."""
    with pytest.raises(ConfigError, match=r"bulkstatus\.toml:4: sources\.edge\.token"):
        read_config(write(with_token(reference))).build()


@pytest.fixture
def ring():
    """A keyring in memory, in place of the owner's."""
    entries = {"svc": "ring-token", "a/b": "deep", "locked": keyring.errors.KeyringLocked("S3CR3T")}
    with ring_of(entries) as made:
        yield made


@pytest.mark.parametrize(("entry", "value"), [("svc/me", "ring-token"), ("a/b/me", "deep")])
def test_a_keyring_entry_is_read_when_needed(write, ring, entry, value):
    """The user is what stands behind the last slash."""
    assert token_of(write(with_token(f"keyring:{entry}"))) == value


# --- where it is looked for ---


@posix
def test_the_users_folder_the_variable_and_the_argument_come_in_this_order(write, tmp_path, monkeypatch):
    """What is named beats the variable, which beats the user's folder."""
    folder = Path(os.environ["XDG_CONFIG_HOME"])
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    assert default_path() == folder / "bulkstatus" / "bulkstatus.toml"
    default_path().parent.mkdir(parents=True)
    default_path().write_text(weavr(URL, KEY, TOKEN).replace("payments", "users"))
    assert list(read_config().sources) == ["users"]
    monkeypatch.setenv("BULKSTATUS_CONFIG", str(write(weavr(URL, KEY, TOKEN), "variable.toml")))
    assert list(read_config().sources) == ["payments"]
    named = write(weavr(URL, KEY, TOKEN).replace("payments", "named"), "named.toml")
    assert list(read_config(named).sources) == list(read_config(str(named)).sources) == ["named"]
    monkeypatch.setenv("BULKSTATUS_CONFIG", "")
    assert list(read_config().sources) == ["users"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the folder is another there")
@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_a_configuration_folder_that_is_not_absolute_is_ignored(monkeypatch, value):
    """As the XDG base directory specification says."""
    monkeypatch.setenv("XDG_CONFIG_HOME", value)
    assert default_path() == Path.home() / ".config" / "bulkstatus" / "bulkstatus.toml"


@pytest.mark.parametrize(("platform", "part"), [("win32", "AppData"), ("darwin", "Application Support")])
def test_every_system_has_its_folder(monkeypatch, platform, part):
    """Where users of that system expect it."""
    monkeypatch.setattr(sys, "platform", platform)
    assert part in str(default_path())


def test_the_path_may_begin_with_a_tilde(monkeypatch):
    """In the variable as in the argument."""
    (Path.home() / "mine.toml").write_text(weavr(URL, KEY, TOKEN))
    assert list(read_config("~/mine.toml").sources) == ["payments"]
    monkeypatch.setenv("BULKSTATUS_CONFIG", "~/mine.toml")
    assert list(read_config().sources) == ["payments"]


@posix
def test_a_command_that_cannot_be_ended_is_not_waited_for(write, tmp_path, monkeypatch):
    """One that runs as another user, such as sudo or pkexec: the system refuses to end it."""
    number, script = tmp_path / "pid", tmp_path / "script"
    script.write_text(f"echo $$ > {number}; exec sleep 30")
    secret = read_config(write(with_token(f"cmd:{shutil.which('sh')} {script}"))).build()["edge"].token
    monkeypatch.setattr("bulkstatus._program._TIMEOUT", 2.0)
    monkeypatch.setattr("bulkstatus._program._LAST_MOMENT", 0.01)
    monkeypatch.setattr(os, "killpg", Mock(side_effect=PermissionError))
    with pytest.raises(AuthError, match="gave no secret within 2 s"):
        secret.reveal()
    os.kill(int(number.read_text()), signal.SIGKILL)  # it is still there
    for thread in threading.enumerate():
        if thread.name == "bulkstatus-command":
            thread.join()


def test_a_configuration_of_many_sources_is_read_in_one_go(tmp_path):
    """The line of each was looked for in all the text: minutes, for what is read in a second."""
    path = tmp_path / "bulkstatus.toml"
    path.write_text("".join(f'[sources.a{number}]\nprovider = "x"\n' for number in range(15_000)))
    done = run_script(
        "import sys; from bulkstatus import read_config; print(len(read_config(sys.argv[1]).sources))",
        str(path),
    )
    assert done.stdout == "15000\n"
