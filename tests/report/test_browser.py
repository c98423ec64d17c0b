"""The page in a real browser: Chromium, without a window."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from recorded import made_up, write_results

from tuner.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--dump-dom"),
)

# Frames are as wide as a telephone and as a desk: media queries follow the frame.
LOOK = """<!doctype html><html><body>
<iframe id="telephone" src="report.html" width="400" height="800"></iframe>
<iframe id="desk" src="report.html" width="1100" height="800"></iframe>
<script>
addEventListener("load", () => {
  const said = {};
  for (const name of ["telephone", "desk"]) {
    const frame = document.getElementById(name), page = frame.contentDocument, view = frame.contentWindow;
    const shown = [...page.querySelectorAll(".drawing")].filter(d => d.offsetParent !== null);
    const widest = Math.max(...shown.map(d => d.querySelector("svg").getBoundingClientRect().right));
    const labels = [...page.querySelectorAll("svg text")].filter(t => t.closest(".drawing").offsetParent !== null);
    said[name] = {
      overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
      drawings: shown.length,
      widest: widest,
      smallest: Math.min(...labels.map(t => t.getBoundingClientRect().height)),
      background: view.getComputedStyle(page.body).backgroundColor,
      ink: view.getComputedStyle(page.body).color,
      label: view.getComputedStyle(labels[0]).fill,
      unreachable: [...page.querySelectorAll("*")].filter(e =>
        e.scrollWidth > e.clientWidth + 1 && view.getComputedStyle(e).overflowX === "auto" && e.tabIndex < 0).length,
    };
  }
  document.body.innerHTML = "<pre>" + JSON.stringify(said) + "</pre>";
});
</script></body></html>"""


def look(folder: Path, *flags: str) -> tuple[dict[str, dict[str, Any]], str]:
    """What a browser makes of `report.html`, and what it logged."""
    assert CHROMIUM is not None
    (folder / "look.html").write_text(LOOK)
    done = subprocess.run(
        [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", f"file://{folder / 'look.html'}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r"<pre>(\{.*\})</pre>", done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-2000:]
    seen: dict[str, dict[str, Any]] = json.loads(found[1])
    return seen, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("browser")
    write_results(made, made_up(150))
    write_report([made], made / "report.html", against=made)
    return made


def test_the_page_fits_a_telephone_and_a_desk_and_logs_nothing(folder: Path) -> None:
    seen, log = look(folder)
    assert "CONSOLE" not in log
    for frame, width in (("telephone", 400), ("desk", 1100)):
        said = seen[frame]
        assert said["overflow"] == 0, frame
        assert said["unreachable"] == 0, frame
        assert 8 <= said["drawings"], frame
        assert said["widest"] <= width, frame
        assert said["smallest"] >= 11, frame
    assert seen["telephone"]["drawings"] == seen["desk"]["drawings"]


def test_colours_follow_what_the_reader_prefers(folder: Path) -> None:
    light, _ = look(folder, "--blink-settings=preferredColorScheme=1")
    dark, _ = look(folder, "--blink-settings=preferredColorScheme=0")
    assert light["desk"]["background"] == "rgb(255, 255, 255)"
    for part in ("background", "ink", "label"):
        assert light["desk"][part] != dark["desk"][part], part
