"""Credentials that cannot be sent, references that lead nowhere, and Secrets that do not show themselves."""

import copy
import dataclasses
import json
import os
import pickle
import pprint
import sys

import msgspec
import pytest

from bulkstatus import AsyncClient, AuthError, Client, ConfigError, read_config
from bulkstatus.adapter import Secret
from bulkstatus_cloudflare import Cloudflare
from bulkstatus_druid import Druid
from bulkstatus_weavr import Weavr
from canaries import frames
from commands import command
from rings import ring_of
from support import Plain, ask

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
CANARY = "S3CR3T-canary"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

BAD = [
    pytest.param(value, marks=pytest.mark.row(row, "F79"), id=f"{row} {value!a}"[:40])
    for row, value in [
        ("B38", f"{CANARY}\n\n"),
        ("B38", f"{CANARY}\r"),
        ("B38", f"\n{CANARY}"),
        ("B39", f"{CANARY}\r\nX-Evil: 1"),
        ("B39", f"{CANARY}\nX-Evil: 1"),
        ("B40", f"{CANARY}\0"),
        ("B40", f"\0{CANARY}"),
        ("B41", f" {CANARY}"),
        ("B42", f"{CANARY} "),
        ("B42", f"{CANARY}\t"),
        ("B43", ""),
        ("B44", f"{CANARY}\u00e9"),
        ("B45", f"\u202e{CANARY}"),
        ("B45", f"{CANARY}\u200b"),
        ("B45", f"\ufeff{CANARY}"),
        ("B46", f"{CANARY}\x1b[31m"),
        ("B46", f"{CANARY}\x7f"),
        ("B47", CANARY * 5_000),
        ("B47", CANARY * 70_000),
    ]
]


def with_token(tmp_path, reference, *lines):
    """A configuration with one Cloudflare whose token is `reference`, in line 4."""
    path = tmp_path / "bulkstatus.toml"
    head = f'[sources.edge]\nprovider = "cloudflare"\naccount_id = "{ACCOUNT}"\n'
    path.write_text("\n".join([f"{head}token = {json.dumps(reference)}", *lines, ""]))
    path.chmod(0o600)
    return path


@pytest.fixture
def ring():
    """A keyring in memory, in place of the owner's."""
    with ring_of({}) as made:
        yield made


def refused(make, *, named):
    """The ConfigError that `make` ends in: it has the name in it and the value nowhere, frames behind it included."""
    with pytest.raises(ConfigError) as caught:
        make()
    error = caught.value
    assert named in str(error)
    assert str(error).isprintable()
    shown = frames(error)
    assert CANARY not in shown
    assert CANARY.encode() not in pickle.dumps(error)
    return error


@pytest.mark.parametrize("value", BAD)
def test_a_file_that_holds_no_credential_is_refused(tmp_path, value):
    """The place and the setting are named, and what stands there is not."""
    (tmp_path / "token").write_bytes(value.encode())
    path = with_token(tmp_path, "file:token")
    refused(read_config(path).build, named=f"{path}:4: sources.edge.token")


@pytest.mark.parametrize("value", [case for case in BAD if "\0" not in case.values[0]])
def test_a_variable_that_holds_no_credential_is_refused(tmp_path, monkeypatch, value):
    """As a file's; a NUL cannot get into one."""
    monkeypatch.setenv("TOKEN", value)
    path = with_token(tmp_path, "env:TOKEN")
    refused(read_config(path).build, named=f"{path}:4: sources.edge.token")


@pytest.mark.parametrize("value", BAD)
def test_a_secret_in_clear_that_is_no_credential_is_refused(tmp_path, value):
    """As a file's; where it stands in the file itself, so do the frames that read the file."""
    path = with_token(tmp_path, value, "allow_plaintext = true")
    refused(lambda: read_config(path).build(), named=f"{path}:4: sources.edge.token")


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda value: Weavr(base_url="https://h.test", api_key=value, auth_token=CANARY), "api_key"),
        (lambda value: Weavr(base_url="https://h.test", api_key=CANARY, auth_token=value), "auth_token"),
        (lambda value: Cloudflare(account_id=ACCOUNT, token=value), "token"),
        (lambda value: Cloudflare(account_id=ACCOUNT, email="a@b.test", api_key=value), "api_key"),
        (lambda value: Druid(api_base_url="https://h.test", client_id=value, client_secret=CANARY), "client"),
        (lambda value: Druid(api_base_url="https://h.test", client_id="i", client_secret=value), "client"),
        (lambda value: Plain(base_url="https://h.test", token=value), "token"),
        (lambda value: Secret(value, "the setting"), "the setting"),
    ],
    ids=["weavr key", "weavr token", "cloudflare token", "key", "druid id", "secret", "a stranger's", "bare"],
)
def test_a_text_that_is_no_credential_is_refused(make, named, value):
    """Given in code: the setting is named; neither it nor the good one beside it is in a frame."""
    refused(lambda: make(value), named=named)


@pytest.mark.parametrize("value", BAD)
def test_a_function_that_gives_no_credential_is_refused(kind, transport, value):
    """When it is needed; nothing is sent, for nobody listens there."""
    adapter = Plain(base_url="http://127.0.0.1:1", token=lambda: value)
    refused(lambda: ask(kind, adapter), named="token")


@posix
@pytest.mark.row("F79")
@pytest.mark.parametrize("where", ["command", "keyring"])
@pytest.mark.parametrize("value", [f"{CANARY} {CANARY}", f"{CANARY}\nX-Evil: 1", f"{CANARY}\u00e9"])
def test_what_a_command_or_a_keyring_gives_is_checked_alike(kind, tmp_path, ring, where, value):
    """It is asked when it is needed, and then no request is sent."""
    ring.entries["svc"] = value
    (tmp_path / "value").write_bytes(value.encode())
    reference = "cmd:cat value" if where == "command" else "keyring:svc/me"
    path = with_token(tmp_path, reference, 'base_url = "http://127.0.0.1:1"')
    adapter = read_config(path).build()["edge"]
    refused(adapter.token.reveal, named="edge.token")
    refused(lambda: ask(kind, adapter), named="edge.token")


@pytest.mark.row("B38")
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_one_line_break_at_the_end_of_a_file_is_dropped(tmp_path, ending):
    """Editors and `echo` write it."""
    (tmp_path / "token").write_bytes(f"good-token{ending}".encode())
    assert read_config(with_token(tmp_path, "file:token")).build()["edge"].token.reveal() == "good-token"


@pytest.mark.row("F79", "B39")
@pytest.mark.parametrize("scheme", ["file", "env", "clear"])
def test_the_command_line_names_the_place_of_a_bad_credential(tmp_path, scheme):
    """Exit code 2, before anything is sent."""
    value = f"{CANARY}\r\nX-Evil: 1"
    (tmp_path / "token").write_bytes(value.encode())
    reference = {"file": "file:token", "env": "env:TOKEN", "clear": value}[scheme]
    path = with_token(tmp_path, reference, "allow_plaintext = true", 'base_url = "http://127.0.0.1:1"')
    done = command("get", "edge:aa11", "--config", path, TOKEN=value, canaries=[CANARY, "X-Evil"])
    assert (done.code, done.out) == (2, "")
    assert "bulkstatus.toml:4: sources.edge.token holds a line break" in done.err


# --- references ---


def odd(tmp_path, what):
    """A reference to something that holds no secret."""
    path = tmp_path / "odd"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "loop":
        path.symlink_to(path)
    elif what == "pipe behind a link":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    return f"file:{path}"


REFERENCES = {
    "unset": ("env:BULKSTATUS_NOBODY_SET_THIS", "'BULKSTATUS_NOBODY_SET_THIS' that is not set"),
    "no name": ("env:", "that is not set"),
    "NUL in a name": ("env:A\0B", "that is not set"),
    "the secret for a name": (f"env:{CANARY}", "an environment variable that is not set"),
    "no path": ("file:", "not a file"),
    "NUL in a path": ("file:a\0b", "not a path"),
    "somebody's folder": ("file:~nobody-of-this-name/token", "user's folder"),
    "/dev/zero": ("file:/dev/zero", "not a file"),
    "/dev/tty": ("file:/dev/tty", "token"),
    "missing": ("file:missing", "No such file"),
    "ESC in a path": ("file:\x1b[31m", r"\x1b[31m"),
    "no command": ("cmd:", "nothing behind cmd:"),
    "a blank command": ("cmd:  ", "nothing behind cmd:"),
    "an empty word": ("cmd:''", "is not there"),
    "no such command": ("cmd:no-such-program-anywhere", "is not there"),
    "a folder for a command": ("cmd:/tmp", "is not there"),
    "unbalanced": ("cmd:echo 'x", "cannot be read"),
    "NUL in a command": ("cmd:echo a\0b", "NUL"),
    "somebody's command": ("cmd:~nobody-of-this-name/x", "user's folder"),
    "no entry": ("keyring:", "keyring:SERVICE/USER"),
    "no user": ("keyring:svc", "keyring:SERVICE/USER"),
    "op": (f"op://vault/{CANARY}", "env:NAME, file:PATH, cmd:COMMAND or keyring:SERVICE/USER"),
    "vault": (f"vault:{CANARY}", "env:NAME, file:PATH, cmd:COMMAND or keyring:SERVICE/USER"),
    "in clear": (CANARY, "env:NAME, file:PATH, cmd:COMMAND or keyring:SERVICE/USER"),
    "in capitals": (f"ENV:{CANARY}", "env:NAME"),
}


@posix
@pytest.mark.row("B99")
@pytest.mark.parametrize("case", REFERENCES)
def test_a_reference_that_leads_nowhere_is_refused_at_once(tmp_path, case):
    """With file and line; nothing is run and nothing is waited for."""
    reference, words = REFERENCES[case]
    path = with_token(tmp_path, reference)
    error = refused(lambda: read_config(path).build(), named=f"{path}:4: sources.edge.token")
    assert words in str(error)


@posix
@pytest.mark.row("B99")
@pytest.mark.parametrize("what", ["folder", "pipe", "pipe behind a link", "loop"])
def test_a_secret_that_is_no_file_is_refused_at_once(tmp_path, what):
    """A pipe that nobody writes to is not waited for."""
    path = with_token(tmp_path, odd(tmp_path, what))
    refused(lambda: read_config(path).build(), named=f"{path}:4: sources.edge.token")


@posix
@pytest.mark.row("B99")
@pytest.mark.parametrize("what", ["pipe", "/dev/zero", "op"])
def test_the_command_line_tells_a_reference_that_leads_nowhere(tmp_path, what):
    """Exit code 2, and no hang."""
    reference = odd(tmp_path, what) if what == "pipe" else REFERENCES[what][0]
    done = command("config", "check", "--config", with_token(tmp_path, reference), canaries=[CANARY])
    assert done.code == 2
    assert "bulkstatus.toml:4: sources.edge.token" in done.err


@posix
@pytest.mark.row("B99")
def test_a_relative_file_stays_the_one_beside_the_configuration(tmp_path, monkeypatch):
    """Also when it is read anew in another working directory than the one the configuration was named from."""
    (tmp_path / "token").write_text("first")
    other = tmp_path / "other"
    other.mkdir()
    (other / "token").write_text("wrong")
    monkeypatch.chdir(tmp_path)
    with_token(tmp_path, "file:token")
    secret = read_config("bulkstatus.toml").build()["edge"].token
    assert secret.reveal() == "first"
    (tmp_path / "token").write_text("second")
    monkeypatch.chdir(other)
    secret.forget()
    assert secret.reveal() == "second"


# --- what shows a secret ---


@dataclasses.dataclass
class _Settings:
    secret: Secret


def loaded():
    """Secrets that were given and that were fetched."""
    fetched = Secret(lambda: CANARY, "fetched")
    fetched.load()
    return [Secret(CANARY, "given"), fetched]


SHOWING = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": lambda secret: f"{secret} {secret!r} {secret!a}",
    "percent": lambda secret: "%s %r %a" % (secret, secret, secret),  # noqa: UP031 - one way to show it
    "format_map": lambda secret: "{x} {x!r}".format_map({"x": secret}),
    "pprint": pprint.pformat,
    "list": lambda secret: repr([secret, (secret,), {secret: secret}]),
    "json": lambda secret: json.dumps({"x": secret}, default=str),
    "json by repr": lambda secret: json.dumps({"x": secret}, default=repr),
    "msgspec": lambda secret: msgspec.json.encode({"x": secret}, enc_hook=str).decode(),
    "dataclass": lambda secret: repr(_Settings(secret)),
    "hash": lambda secret: str(hash(secret)),
    "name": lambda secret: secret.name,
}

REFUSING = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "old pickle": lambda secret: pickle.dumps(secret, 0),
    "reduce": lambda secret: secret.__reduce_ex__(4),
    "getstate": lambda secret: secret.__getstate__(),
    "vars": vars,
    "asdict": lambda secret: dataclasses.asdict(_Settings(secret)),
    "json": json.dumps,
    "msgspec": msgspec.json.encode,
    "msgpack": msgspec.msgpack.encode,
    "yaml": msgspec.to_builtins,
    "bytes": bytes,
    "iter": iter,
    "len": len,
    "item": lambda secret: secret[0],
    "sum": lambda secret: secret + "",
    "width": lambda secret: f"{secret:>80}",
}


@pytest.mark.row("F79")
@pytest.mark.parametrize("way", SHOWING)
def test_a_secret_is_shown_by_nothing(way):
    """Stars, or its name."""
    for secret in loaded():
        assert CANARY not in SHOWING[way](secret)


@pytest.mark.row("F79")
@pytest.mark.parametrize("way", REFUSING)
def test_a_secret_is_not_taken_apart(way):
    """What would write it is a TypeError that does not hold it either."""
    for secret in loaded():
        with pytest.raises(TypeError) as caught:
            REFUSING[way](secret)
        assert CANARY not in str(caught.value)


@pytest.mark.row("F79")
def test_comparing_secrets_tells_nothing():
    """Two of one value are not equal, and none is equal to its text."""
    one, two = loaded()
    assert one != two
    assert one != CANARY
    assert len({one, two}) == 2
    assert Plain(base_url="https://h.test", token=CANARY) != Plain(base_url="https://h.test", token=CANARY)


ADAPTERS = {
    "weavr": lambda: Weavr(base_url="https://h.test", api_key=CANARY, auth_token=CANARY),
    "cloudflare": lambda: Cloudflare(account_id=ACCOUNT, token=CANARY),
    "druid": lambda: Druid(api_base_url="https://h.test", client_id=CANARY, client_secret=CANARY),
    "a stranger's": lambda: Plain(base_url="https://h.test", token=CANARY),
}


@pytest.mark.row("F79")
@pytest.mark.parametrize("name", ADAPTERS)
def test_neither_an_adapter_nor_its_scheme_nor_its_client_shows_a_secret(name):
    """In repr, in str, as JSON, as a dict, or in what a pickle would write."""
    adapter = ADAPTERS[name]()
    auth = adapter.auth()
    objects = [adapter, auth, *auth.secrets, Client({"a": adapter}), AsyncClient({"a": adapter})]
    objects += [msgspec.structs.asdict(adapter), copy.copy(adapter), msgspec.structs.replace(adapter)]
    for value in objects:
        assert CANARY not in f"{value} {value!r} {pprint.pformat(value)}"
    assert CANARY.encode() not in msgspec.json.encode(adapter, enc_hook=str)
    for write in (pickle.dumps, copy.deepcopy, msgspec.json.encode):
        with pytest.raises(TypeError) as caught:
            write(adapter)
        assert CANARY not in str(caught.value)


@pytest.mark.row("F79")
def test_a_configuration_does_not_show_what_it_holds(tmp_path):
    """Neither itself nor by the adapters it builds."""
    config = read_config(with_token(tmp_path, CANARY, "allow_plaintext = true"))
    assert CANARY not in f"{config!r} {config.sources} {config.build()!r}"


@pytest.mark.row("F79")
@pytest.mark.parametrize(
    "text",
    [
        'x = 1\napi_key = "{}"\n[broken',
        'token = "{}"\n[sources.a]\nprovider = "weavr"',
        'sources = [{{token = "{}"}}]',
        '[sources]\na = "{}"',
        '[sources.a]\ntoken = "{}"',
        '[sources.a]\nprovider = 5\ntoken = "{}"',
        '[sources.a]\nprovider = "weavr"\nallow_plaintext = 5\ntoken = "{}"',
        '[sources."../x"]\nprovider = "weavr"\ntoken = "{}"',
        '[sources.a]\nprovider = "wever"\ntoken = "{}"',
        '[sources.a]\nprovider = "weavr"\ntoken = "{}"',
        '[sources.a]\nprovider = "weavr"\nbase_url = "https://h.test"\napi_key = "{}"',
        '[sources.a]\nprovider = "weavr"\nbase_url = 5\napi_key = "{}"\nauth_token = "{}"',
        '[sources.a]\nprovider = "weavr"\nallow_plaintext = true\nbase_url = "ftp:"\napi_key = "{}"\nauth_token = "{}"',
        '[sources.a]\nprovider = "cloudflare"\naccount_id = "x"\ntoken = "{}"\nallow_plaintext = true',
        '[sources.a]\nprovider = "weavr"\napi_key = {{a = "{}"}}\nbase_url = "x"\nauth_token = "x"',
    ],
)
def test_an_error_about_a_configuration_holds_no_secret_that_stands_in_it(tmp_path, text):
    """Not in its text, and not in any frame behind it."""
    path = tmp_path / "bulkstatus.toml"
    path.write_text(text.format(CANARY, CANARY))
    path.chmod(0o600)
    refused(lambda: read_config(path).build(), named=str(path))


@pytest.mark.row("F79")
@pytest.mark.parametrize("ending", [b"\xff", b"#" * 1024 * 1024])
def test_a_file_that_is_no_configuration_stays_out_of_the_frames(tmp_path, ending):
    """Not UTF-8, too large."""
    path = tmp_path / "bulkstatus.toml"
    path.write_bytes(f'[sources.a]\ntoken = "{CANARY}"\n'.encode() + ending)
    refused(lambda: read_config(path), named=str(path))


_VAULT = """
def token():
    answer = {"token": "S3CR3T-canary"}
    return answer["tokn"]
"""


@pytest.mark.row("F79")
def test_a_function_that_raises_leaves_nothing_in_the_frames(kind, transport):
    """Its own frames hold what it worked with."""
    module = {}
    exec(compile(_VAULT, "vault.py", "exec"), module)
    with pytest.raises(AuthError, match=r"could not be fetched \(KeyError\)") as caught:
        ask(kind, Plain(base_url="http://127.0.0.1:1", token=module["token"]))
    assert CANARY not in frames(caught.value)
