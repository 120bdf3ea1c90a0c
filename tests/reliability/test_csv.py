"""What providers say, as CSV: never a formula, never a second row, and numbers are numbers."""

import csv
import io
import unicodedata

import pytest

from bulkstatus.cli import main
from bulkstatus.testing import Life, serve
from bulkstatus_cloudflare.fake import CloudflareFake

EDGE = "S3CR3T-csv-edge"
ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
FORMULA = frozenset("=+-@\t\r\0\uff1d\uff0b\uff0d\uff20")
# What a provider says, and the cell that comes of it: what is escaped is no formula any more, and needs no apostrophe.
CELLS = [
    pytest.param("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0", marks=pytest.mark.row("B88"), id="equals sign"),
    pytest.param(
        '=HYPERLINK("http://evil.test","x")',
        '\'=HYPERLINK("http://evil.test","x")',
        marks=pytest.mark.row("B88"),
        id="link",
    ),
    pytest.param("+1", "'+1", marks=pytest.mark.row("B88"), id="plus"),
    pytest.param("-1+1", "'-1+1", marks=pytest.mark.row("B88"), id="minus"),
    pytest.param("-5", "'-5", marks=pytest.mark.row("B88"), id="number in a column of texts"),
    pytest.param("@SUM(A1)", "'@SUM(A1)", marks=pytest.mark.row("B88"), id="at sign"),
    pytest.param("\t=1", r"\t=1", marks=pytest.mark.row("B89"), id="tab before"),
    pytest.param("\r=1", r"\r=1", marks=pytest.mark.row("B89"), id="carriage return before"),
    pytest.param("\n=1", r"\n=1", marks=pytest.mark.row("B89"), id="line break before"),
    pytest.param("\0=1", r"\x00=1", marks=pytest.mark.row("B89"), id="NUL before"),
    pytest.param("   =1", "'   =1", marks=pytest.mark.row("B89"), id="blanks before"),
    pytest.param("\u00a0=1", r"\xa0=1", marks=pytest.mark.row("B89"), id="blank that does not break before"),
    pytest.param("\u3000 =1", r"\u3000 =1", marks=pytest.mark.row("B89"), id="wide blank before"),
    pytest.param("\u200b=1", r"\u200b=1", marks=pytest.mark.row("B89"), id="blank without width before"),
    pytest.param("\ufeff=1", r"\ufeff=1", marks=pytest.mark.row("B89"), id="byte-order mark before"),
    pytest.param("\uff1d1", "'\uff1d1", marks=pytest.mark.row("B90"), id="wide equals sign"),
    pytest.param("\uff0b1", "'\uff0b1", marks=pytest.mark.row("B90"), id="wide plus"),
    pytest.param("\uff0d1", "'\uff0d1", marks=pytest.mark.row("B90"), id="wide minus"),
    pytest.param("\uff20x", "'\uff20x", marks=pytest.mark.row("B90"), id="wide at sign"),
    pytest.param("'=1", "'=1", marks=pytest.mark.row("B90"), id="apostrophe before"),
    pytest.param("a\r\nb,succeeded", r"a\r\nb,succeeded", marks=pytest.mark.row("B91"), id="line break"),
    pytest.param(
        "a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d", marks=pytest.mark.row("B91"), id="line separators"
    ),
    pytest.param('a","=1', 'a","=1', marks=pytest.mark.row("B91"), id="quotation mark"),
    pytest.param("\x1b[31mred", r"\x1b[31mred", marks=pytest.mark.row("B91"), id="escape"),
]
BULK = "a" * 32


class Wordy(CloudflareFake):
    """Says `text` wherever it may say one, and a count that no spreadsheet may take for a text."""

    def __init__(self, text):
        super().__init__(token=EDGE)
        self.add(BULK, Life.of((0, "failed")), error=text)


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run the command line in this process against a provider that says `text`."""
    monkeypatch.setenv("CF_TOKEN", EDGE)
    monkeypatch.setenv("BULKSTATUS_JOURNAL", str(tmp_path / "journal.db"))

    def run(text, *commands):
        config = tmp_path / "bulkstatus.toml"
        with serve(Wordy(text)) as url:
            config.write_text(
                f'[sources.edge]\nprovider = "cloudflare"\nbase_url = "{url}"\naccount_id = "{ACCOUNT}"\n'
                'token = "env:CF_TOKEN"\nbudget = []\n'
            )
            monkeypatch.setenv("BULKSTATUS_CONFIG", str(config))
            said = []
            for words in commands:
                main([*words])
                said.append(capsys.readouterr().out)
        return said

    return run


@pytest.mark.parametrize(("text", "cell"), CELLS)
@pytest.mark.unrecorded
def test_no_cell_is_a_formula_or_a_second_row(call, text, cell):
    """In every command that writes CSV; what a spreadsheet would run is guarded, what breaks a line is escaped."""
    commands = [
        ["get", f"edge:{BULK}", "-o", "csv"],
        ["list", "--tracked", "-o", "csv"],
        ["wait", f"edge:{BULK}", "--timeout", "30", "-o", "csv"],
        ["journal", "export", "bulks", "-o", "csv"],
        ["history", f"edge:{BULK}", "-o", "csv"],
    ]
    for words, out in zip(commands, call(text, *commands), strict=True):
        assert out.count("\n") == 2, words
        assert not {char for char in out if unicodedata.category(char) in ("Cc", "Zl", "Zp")} - {"\n"}
        (row,) = csv.DictReader(io.StringIO(out))
        if "error" in row:
            assert row["error"] == cell, words
        assert not [value for value in row.values() if value.lstrip(" \u00a0\u3000")[:1] in FORMULA and value]


@pytest.mark.row("B88")
def test_a_number_in_a_column_of_numbers_is_left_alone(capsys):
    """A count is a number for whoever reads the file, a negative or a small one too."""
    from bulkstatus.cli import _changes, _output

    assert _changes.cells([-1, 0.00001, -0.00001, 2**63, None, "-1", True]) == [
        "-1",
        "1e-05",
        "-1e-05",
        "9223372036854775808",
        "",
        "'-1",
        "true",
    ]
    assert _output.cell("-1", numeric=True) == "-1"
    assert _output.cell("-1+1", numeric=True) == "'-1+1"
