"""Fuzzes the readers: `python tests/fuzz/run.py --seconds 10 [--target NAME] [--corpus DIR]`.

Each target runs in a process of its own, from the inputs in its corpus on. With atheris, mutation is guided by what
it reaches in bulkstatus and its adapters; without it, hypothesis makes the inputs, and the first line says so. With
`--runs` in place of `--seconds` the inputs are the same each time (those of atheris for the first few hundred). What
is found is written into the corpus, where the tests play it from then on.

Exit code: 0 nothing found, 1 something found, 2 wrong arguments.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stderr
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
CODE = ("bulkstatus", "bulkstatus_weavr", "bulkstatus_cloudflare", "bulkstatus_druid", "bulkstatus_openai")
LONGEST = 8_192
_PATIENCE = 60  # seconds for one input, generous: a busy machine is no finding
_TOLD = 6_000


class Amount(NamedTuple):
    """How long a target runs: so many inputs, or so many seconds."""

    runs: int | None
    seconds: int


class Told(NamedTuple):
    """What came of a target: whether something was found, how many inputs there were, and what was written."""

    failed: bool
    executions: int
    output: str


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10, help="how long for each target (10)")
    parser.add_argument("--runs", type=int, help="how many inputs for each target, in place of --seconds")
    parser.add_argument("--target", action="append", help="only this one; may be given several times")
    parser.add_argument("--corpus", type=Path, default=HERE / "corpus", help="where the inputs are kept")
    parser.add_argument("--engine", choices=["atheris", "hypothesis"], help="what makes the inputs")
    parser.add_argument("--module", default="fuzz.targets", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    guided = find_spec("atheris") is not None
    if chosen.engine == "atheris" and not guided:
        parser.error("atheris is not installed: pip install --group fuzz")
    engine = chosen.engine or ("atheris" if guided else "hypothesis")
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets is part of what makes two runs the same.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.path.insert(0, str(HERE.parent))
    targets = _instrumented(chosen.module) if engine == "atheris" else import_module(chosen.module).TARGETS
    wrong = set(chosen.target or ()) - set(targets)
    if wrong:
        parser.error(f"no such target: {', '.join(sorted(wrong))}; there are {', '.join(targets)}")
    _say(f"inputs by {engine}{'' if guided else ' (atheris is not installed)'}")
    _say(f"{'target':<12} {'executions':>11} {'a second':>9} {'findings':>9}")
    amount = Amount(chosen.runs, chosen.seconds)
    names = [name for name in targets if not chosen.target or name in chosen.target]
    found = [_run(engine, name, targets[name], chosen.corpus / name, amount) for name in names]
    return 1 if any(found) else 0


def _instrumented(module):
    import atheris

    with (
        Path(os.devnull).open("w") as nowhere,
        redirect_stderr(nowhere),
        atheris.instrument_imports(list(CODE)),
    ):
        return import_module(module).TARGETS


def _say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run(engine, name, target, folder, amount):
    """Run one target and say what came of it; true when something was found."""
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    play = _with_atheris if engine == "atheris" else _with_hypothesis
    began = time.monotonic()
    memory = Path("/dev/shm")  # targets write many small files
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        usual, tempfile.tempdir = tempfile.tempdir, scratch
        try:
            told = play(target, folder, amount)
        finally:
            tempfile.tempdir = usual
    speed = told.executions / max(time.monotonic() - began, 0.001)
    _say(f"{name:<12} {told.executions:>11,} {speed:>9,.0f} {int(told.failed):>9}")
    if told.failed:
        _say(told.output[-_TOLD:])
        for file in sorted(set(folder.iterdir()) - before):
            _say(f"{name}: the input is kept in {file}")
    return told.failed


def _with_atheris(target, folder, amount):
    """In a process of its own, since libFuzzer ends the one that it runs in; what was imported is there already."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            _fuzz(target, folder, amount)
            sys.exit(
                1
            )  # an ordinary end: it is at the end of the process that libFuzzer keeps what was found
        _, status = os.waitpid(child, 0)
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
    counted = re.findall(r"stat::number_of_executed_units: +([0-9]+)", said)
    return Told(status != 0, int(counted[-1]) if counted else 0, said)


def _fuzz(target, folder, amount):
    import atheris

    from fuzz.inputs import mutated

    def other(data, longest, number):
        # A third by libFuzzer, which knows what its inputs reach; the rest by what knows JSON, which it does not.
        if number % 3 == 0:
            return atheris.Mutate(data, len(data))[:longest]
        return mutated(bytes(data), number, longest)

    reached = (
        tempfile.mkdtemp()
    )  # what reaches new code is written into the first folder; the others are only read
    length = f"-max_total_time={amount.seconds}" if amount.runs is None else f"-runs={amount.runs}"
    rules = ["-seed=1", length, f"-max_len={LONGEST}", "-print_final_stats=1", "-rss_limit_mb=2048"]
    rules += [f"-timeout={_PATIENCE}", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *rules, reached, str(folder)], target, custom_mutator=other)
    atheris.Fuzz()


def _with_hypothesis(target, folder, amount):
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    from fuzz.inputs import mutated

    kept = [file.read_bytes() for file in sorted(folder.iterdir())] or [b""]
    played = [0]
    last = [b""]

    def play(data):
        played[0] += 1
        last[0] = data
        target(data)

    made = st.builds(mutated, st.sampled_from(kept), st.integers(0, 2**32), st.just(LONGEST))
    inputs = st.one_of(made, st.binary(max_size=200))
    ends = time.monotonic() + amount.seconds
    batch = 200 if amount.runs is None else amount.runs
    rules = settings(
        max_examples=batch,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    number = 0
    try:
        for data in kept:
            play(data)
        while not number or (amount.runs is None and time.monotonic() < ends):
            number += 1
            seed(number)(rules(given(inputs)(play)))()
    except Exception:  # noqa: BLE001 - whatever a target raises is what is looked for
        digest = hashlib.sha256(last[0]).hexdigest()[:40]
        (folder / f"crash-{digest}").write_bytes(last[0])
        return Told(failed=True, executions=played[0], output=traceback.format_exc())
    return Told(failed=False, executions=played[0], output="")


if __name__ == "__main__":
    sys.exit(main())
