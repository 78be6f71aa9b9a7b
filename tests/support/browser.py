"""A page in Debian's chromium, without a driver: scripts in it say what they see."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage
--hide-scrollbars --disable-background-networking --disable-component-update --disable-sync
--virtual-time-budget=5000 --window-size=1400,900
"""

_WATCH = """<script>
window.problems = [];
addEventListener("error", (event) => problems.push(event.message));
for (const kind of ["error", "warn"]) console[kind] = (...words) => problems.push(words.join(" "));
</script>"""

_FRAMES = """<!DOCTYPE html><body>{frames}<script>
addEventListener("load", () => {{
  const look = {look};
  const seen = [...document.querySelectorAll("iframe")].map((frame) => {{
    try {{
      const found = look(frame.contentWindow, frame.contentDocument);
      return {{ ...found, problems: frame.contentWindow.problems }};
    }} catch (error) {{ return {{ problems: [String(error.stack)] }}; }}
  }});
  document.body.dataset.seen = JSON.stringify(seen);
}});
</script>"""


def find_chromium() -> str:
    """The browser; a test without one is skipped."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium or google-chrome, as .ci/run installs it")
    return browser


def look_at(
    page: str, look: str, place: Path, *, widths: list[int], dark: bool = False
) -> list[Any]:
    """What a JavaScript function of window and document finds in a page at each of some widths.

    Errors and warnings on the console are added to it as `problems`. A window has 500 pixels at
    least, which a frame in it need not.
    """
    watched = html.escape(page.replace("<head>", "<head>" + _WATCH, 1))
    frames = "".join(
        f'<iframe style="border:0;width:{width}px;height:800px" srcdoc="{watched}"></iframe>'
        for width in widths
    )
    file = place / f"frames-{'dark' if dark else 'light'}.html"
    file.write_text(_FRAMES.format(frames=frames, look=look), encoding="utf-8")
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [find_chromium(), *FLAGS.split(), *theme, f"--user-data-dir={place / 'profile'}"]
    command += ["--dump-dom", file.as_uri()]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (seen,) = re.findall(r'data-seen="([^"]*)"', shown)
    return json.loads(html.unescape(seen))
