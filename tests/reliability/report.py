"""The tables of docs/reliability.md: what each numbered row is, and what a run of the tests showed.

pytest -q --rows rows.json
python tests/reliability/report.py rows.json            # writes the tables into docs/reliability.md
python tests/reliability/report.py rows.json --check    # exits 1 where a row does not hold or the page says else
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
FAULTS = [f"F{number:02}" for number in range(1, 91)]
INPUTS = [f"B{number:02}" for number in range(1, 105)]


def described():
    """What the files in rows/ say: for each number `what`, `must`, and `not_shown` where it cannot be shown here."""
    rows = {}
    for file in sorted((HERE / "rows").glob("*.toml")):
        for number, row in tomllib.loads(file.read_text()).items():
            if number in rows:
                raise SystemExit(f"{file.name}: {number} is described twice")
            rows[number] = row
    missing = [number for number in FAULTS + INPUTS if number not in rows]
    strange = [number for number in rows if number not in FAULTS + INPUTS]
    if missing or strange:
        raise SystemExit(f"rows without a description: {missing}; descriptions without a row: {strange}")
    return rows


def faults_of(rows, results):
    """What stands against the run: rows that were not tried, or did not hold."""
    found = []
    for number, row in rows.items():
        result = results.get(number)
        if "not_shown" in row:
            if result is not None:
                found.append(f"{number} is said not to be shown, and has tests")
        elif result is None or not result["passed"]:
            found.append(f"{number} was not tried")
        elif result["failed"]:
            found.append(f"{number} did not hold in {result['failed']} cases")
    return found


def _cell(text):
    return " ".join(text.split()).replace("|", "\\|")


def _line(number, row, result):
    if "not_shown" in row:
        held = f"not shown: {_cell(row['not_shown'])}"
        by = over = ""
    else:
        held = "yes"
        by, over = ", ".join(result["kinds"]), ", ".join(result["transports"])
    return f"| {number} | {_cell(row['what'])} | {_cell(row['must'])} | {by} | {over} | {held} |"


def _summary(name, numbers, rows, results):
    shown = [number for number in numbers if "not_shown" not in rows[number]]
    both = {key: sum(len(results[number][key]) == 2 for number in shown) for key in ("kinds", "transports")}
    return (
        f"{name}: {len(shown)} of {len(numbers)} rows tried, all of them held; "
        f"{both['kinds']} by both clients, {both['transports']} over both transports."
    )


def tables(rows, results):
    """The generated part of the page, by the name of its place."""
    made = {
        "summary": "\n".join(
            f"- {_summary(name, numbers, rows, results)}"
            for name, numbers in (("Faults", FAULTS), ("Bad inputs", INPUTS))
        )
    }
    for name, numbers in (("faults", FAULTS), ("inputs", INPUTS)):
        head = "| row | what happens | what must come of it | clients | transports | held |\n|---|---|---|---|---|---|"
        made[name] = "\n".join(
            [head, *(_line(number, rows[number], results.get(number)) for number in numbers)]
        )
    return made


def filled(page, made):
    """The page with the generated parts put where `<!-- NAME -->` and `<!-- /NAME -->` stand."""
    for name, text in made.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = page.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{PAGE.name} has no place {start} ... {end}")
        page = f"{before}{start}\n{text}\n{end}{after}"
    return page


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, help="what pytest --rows wrote")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something is amiss")
    chosen = parser.parse_args()
    rows, results = described(), json.loads(chosen.results.read_text())
    wrong = faults_of(rows, results)
    if wrong:
        sys.exit("\n".join(wrong))
    old = PAGE.read_text()
    new = filled(old, tables(rows, results))
    if not chosen.check:
        PAGE.write_text(new)
    elif any(result["skipped"] for result in results.values()):
        sys.stdout.write("some tests were skipped here, so the page is not compared with this run\n")
    elif new != old:
        sys.exit(
            f"{PAGE.name} does not say what this run showed; run this without --check, and look at the change"
        )
    cases = sum(result["passed"] for result in results.values())
    sys.stdout.write(f"{len(results)} rows tried, all held, in {cases} cases\n")


if __name__ == "__main__":
    main()
