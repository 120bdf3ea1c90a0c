"""The command line in this process, over fakes on real sockets."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

from bulkstatus.cli import main
from bulkstatus.testing import serve


def _settings(name, fake, url):
    """The table of a source that reaches `fake` at `url`."""
    if fake.word == "weavr":
        mine = {"base_url": url, "api_key": fake.api_key, "auth_token": fake.auth_token}
    elif fake.word == "cloudflare":
        mine = {"base_url": url, "account_id": fake.account_id, "token": fake.token}
    else:
        mine = {"api_base_url": url, "client_id": fake.client_id, "client_secret": fake.client_secret}
    lines = [f'{key} = "{value}"' for key, value in mine.items()]
    return "\n".join([f"[sources.{name}]", f'provider = "{fake.word}"', "allow_plaintext = true", *lines])


@contextmanager
def command_line(monkeypatch, tmp_path, capsys):
    """A function that runs the command line over fakes, given by source, and gives its code and what it wrote."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("bulkstatus._retry._BASE", 0.001)
    monkeypatch.setattr("bulkstatus._budget._LONGEST_GUESS", 0.001)
    with ExitStack() as stack:

        def call(fakes, *words):
            path = tmp_path / "bulkstatus.toml"
            tables = [_settings(name, fake, stack.enter_context(serve(fake))) for name, fake in fakes.items()]
            path.write_text("\n\n".join(tables))
            path.chmod(0o600)
            capsys.readouterr()
            code = main([*words, "--config", str(path)])
            said = capsys.readouterr()
            assert "Traceback" not in said.err
            return SimpleNamespace(code=code, out=said.out, err=said.err)

        yield call
