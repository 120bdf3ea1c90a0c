"""Draw docs/demo.svg: the demo's table as a terminal of 120 columns shows it. Run it to make the picture anew."""

import io
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import bulkstatus
from bulkstatus.cli._demo import _NAMES
from bulkstatus.cli._live import status_table
from bulkstatus.testing import FakeTransport, ManualClock, load_fake

PICTURE = Path(__file__).parents[2] / "docs" / "demo.svg"
_SECONDS = 9.0
_NOW = datetime(2026, 3, 2, 3, 4, 5, tzinfo=UTC)

# Plain shapes and the reader's own monospace font: nothing is fetched when the picture is shown.
_FORMAT = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img"
  aria-label="bulkstatus demo: sixteen bulks of four providers on a terminal">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; white-space: pre; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def draw():
    """The picture as SVG; the same for the same code."""
    clock = ManualClock(_NOW.timestamp() - _SECONDS)
    fakes = {name: load_fake(word).demo(clock=clock) for word, name in _NAMES.items()}
    clock.advance(_SECONDS)
    urls = {name: f"https://{name}.test{fake.prefix}" for name, fake in fakes.items()}
    transport = FakeTransport({urls[name]: fake for name, fake in fakes.items()})
    sources = {name: fake.adapter(urls[name]) for name, fake in fakes.items()}
    with bulkstatus.Client(sources, transport=transport) as client:
        statuses = [client.get(f"{name}:{id}") for name, fake in fakes.items() for id in fake.bulk_ids()]
    console = Console(
        record=True, width=120, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text("$ bulkstatus demo", style="bold"))
    console.print(status_table(statuses, console, _NOW))
    return console.export_svg(
        title="bulkstatus demo", theme=MONOKAI, code_format=_FORMAT, unique_id="bulkstatus"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw())
