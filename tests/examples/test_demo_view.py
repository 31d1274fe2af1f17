"""What a person sees of the demo: the newest lines, on any terminal, and the whole story at the end."""

import io
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from examples.demo.view import Screen

REPOSITORY = Path(__file__).parents[2]
LONG = "hospital-{} did something that takes more than one line of a narrow terminal to be told in full, as it happens"


def test_the_newest_line_is_seen_on_a_small_terminal_and_the_whole_story_at_the_end() -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)
    screen = Screen(console)
    with screen.shown():
        for number in range(40):
            screen.tell(LONG.format(number))
        drawn = "\n".join(segment.text for line in console.render_lines(screen._live.renderable) for segment in line)
        assert "hospital-39" in drawn
        assert len(console.render_lines(screen._live.renderable)) < 24
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(f"hospital-{number} did" in told for number in range(40))


def test_a_reader_that_goes_away_stops_the_run_as_ctrl_c_does() -> None:
    """Else the pipe's error would end it before what it had started was stopped."""
    code = (
        "import signal\n"
        "from examples.demo.view import Lines\n"
        "lines = Lines(as_json=False)\n"
        "try:\n"
        "    while True: lines.tell('x' * 999)\n"
        "except KeyboardInterrupt:\n"
        "    lines.tell('and it can go on telling')\n"
        "    raise SystemExit(130)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert running.stdout is not None
    running.stdout.read(10)
    running.stdout.close()
    assert running.wait(30) == 130
