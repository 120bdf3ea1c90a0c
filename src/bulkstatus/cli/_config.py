"""The configuration file: where it is, whether it is right, and a first one."""

import os
from pathlib import Path

from bulkstatus import BulkStatusError, ConfigError, default_path, printable, read_config
from bulkstatus.cli import _exit
from bulkstatus.cli._output import lines
from bulkstatus.cli._text import say, tell

_LONGEST_PATH = 300

# A line that begins with # and a letter or a bracket is a setting; one with a blank behind the # is prose.
STARTER = """\
# Sources for bulkstatus: one section for each account you want to look at.
#
# To use a section, take the # off its lines. The name behind "sources." is yours to choose; bulks are then called
# by it, as in payments:112233445566778899.
#
# Credentials are not written here. A setting tells where one is kept:
#   env:NAME                an environment variable
#   file:PATH               a file, looked for beside this one when the path is relative
#   cmd:COMMAND             what a command prints; it is run without a shell and has 10 seconds;
#                           give a full path, or a name that is in PATH
#   keyring:SERVICE/USER    the system's keyring (needs the extra bulkstatus[keyring])
#
# Afterwards:  bulkstatus config check   and   bulkstatus sources

# Weavr Multi
#[sources.payments]
#provider = "weavr"
#base_url = "https://sandbox.weavr.io/multi"
#api_key = "env:WEAVR_API_KEY"
#auth_token = "env:WEAVR_AUTH_TOKEN"

# Cloudflare Lists. The token needs the permission "Account Filter Lists Read".
#[sources.edge]
#provider = "cloudflare"
#account_id = "023e105f4ecef8ad9ca31a8372d0c353"
#token = "file:cloudflare-token"

# DRUID. state_map tells what a provider's word means that this release does not know.
#[sources.crm]
#provider = "druid"
#api_base_url = "https://graph.example.com"
#auth_base_url = "https://auth.example.com"
#client_id = "env:DRUID_CLIENT_ID"
#client_secret = "cmd:pass show druid"
#state_map = { archiving = "running" }

# OpenAI's Batch API, or with base_url any other API of that shape.
#[sources.batches]
#provider = "openai"
#api_key = "env:OPENAI_API_KEY"
"""


def _file(path: Path | None) -> Path:
    try:
        return default_path() if path is None else path.expanduser()
    except RuntimeError:
        raise ConfigError(f"the user's folder in {str(path)[:_LONGEST_PATH]!r} is not known") from None


def show_path(path: Path | None) -> None:
    """Write where the configuration is looked for; whether it is there is said on stderr."""
    file = _file(path)
    lines([printable(str(file), 4096)])
    if not file.exists():
        say("it does not exist yet; 'bulkstatus config init' writes a starter")


def check(path: Path | None) -> int:
    """Set every source up without asking anybody; return the exit code."""
    config = read_config(path)
    wrong = 0
    for name, provider in config.sources.items():
        try:
            config.build([name])
        except BulkStatusError as error:
            wrong += 1
            tell(str(error))
        else:
            lines([f"{printable(name)} ({printable(provider)}): ok"])
    if wrong:
        say(f"{wrong} of {len(config.sources)} sources cannot be used")
        return _exit.USAGE
    say("nothing was sent; 'bulkstatus sources' asks each provider whether it takes the credentials")
    return _exit.OK


def write_starter(path: Path | None) -> None:
    """Write a first configuration with everything commented out. Raises ConfigError when something is there."""
    file = _file(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        for folder in reversed([each for each in file.parents if not each.exists()]):
            # One by one: with `parents`, the mode would be for the last of them only.
            folder.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as stream:
            stream.write(STARTER)
    except FileExistsError:
        raise ConfigError(f"{file} is already there and was left as it is") from None
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None
    lines([printable(str(file), 4096)])
    say("take the # off the sections you need, then run 'bulkstatus config check'")
