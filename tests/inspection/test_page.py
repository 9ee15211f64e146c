"""The page, opened in a browser without a window: it clicks through itself and says what lit up."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rustorch.inspection import Inspection
from rustorch.inspection.layout import BOX, GAP, layered
from rustorch.inspection.page import record
from rustorch.inspection.stages import LEVELS
from tests.inspection.programs import seen_training

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=10000", "--window-size=1800,1100", "--dump-dom",
)  # fmt: skip
BUDGET = 400_000
"""Bytes of the page without what it shows."""


@dataclass(frozen=True)
class Opened:
    """What the browser made of a page: the document, the page's own findings, and what it said on the console."""

    document: str
    found: dict[str, Any]
    console: list[str]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The page of a training step, opened once from a file."""
    if BROWSER is None:
        pytest.skip("no Chromium")
    folder = tmp_path_factory.mktemp("page")
    path = folder / "train.html"
    seen_training().to_html(path)
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'user'}", f"{path.as_uri()}#check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    report = re.search(r'<html[^>]* data-check="([^"]*)"', done.stdout)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Opened(done.stdout, json.loads(html.unescape(report[1])) if report else {}, console)


def lines_with(seen: Inspection, level: str, number: int) -> int:
    return sum(number in line.links for section in seen.stage(level).sections for line in section.lines)


def test_no_errors_on_the_console(opened: Opened) -> None:
    assert opened.console == []
    assert opened.found


def test_every_line_is_there(opened: Opened) -> None:
    seen = seen_training()
    assert opened.found["rows"] == {level: sum(len(s.lines) for s in seen.stage(level).sections) for level in LEVELS}
    assert opened.found["table"] == opened.found["boxes"] == len(seen.kernels)


def test_a_click_on_a_value_lights_it_up_in_every_stage(opened: Opened) -> None:
    """For every node of the simplified graph, exactly the lines that are about it."""
    seen = seen_training()
    clicks = opened.found["clicks"]
    shown = [line for line in seen.stage("simplified").sections[0].lines if len(line.links) == 1]
    assert [click["number"] for click in clicks] == [line.links[0] for line in shown]
    for click in clicks:
        assert click["counts"] == {level: lines_with(seen, level, click["number"]) for level in LEVELS}
    assert any(all(count > 0 for count in click["counts"].values()) for click in clicks)
    assert any(click["related"] > 0 for click in clicks)
    assert opened.found["cleared"] == 0


def test_a_click_on_a_line_of_python_lights_up_what_comes_from_it(opened: Opened) -> None:
    seen = seen_training()
    line = next(line for section in seen.stage("source").sections for line in section.lines if line.links)
    expected = {
        level: sum(not set(line.links).isdisjoint(row.links) for section in seen.stage(level).sections for row in section.lines)
        for level in LEVELS
    }
    assert opened.found["line"] == expected
    assert expected["traced"] > 0 and expected["asm"] > 0


def test_the_search_finds_all(opened: Opened) -> None:
    assert opened.found["search"] == sum("mul" in text for text in "\n".join(seen_training().stages().values()).splitlines())


def test_the_page_stands_alone() -> None:
    text = seen_training().to_html()
    packed = re.search(r'atob\("([^"]*)"\)', text)
    assert packed
    assert len(text) - len(packed[1]) < BUDGET
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert json.loads(zlib.decompress(base64.b64decode(packed[1]))) == json.loads(json.dumps(record(seen_training())))


def test_the_text_of_a_program_is_no_markup() -> None:
    seen = Inspection.of_graph(seen_training().differentiated.graph, "<script>alert(1)</script>")
    assert "<script>alert(1)" not in seen.to_html()


def test_a_notebook_shows_it_in_a_frame() -> None:
    frame = seen_training()._repr_html_()
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert frame.count('"') == 6  # nothing inside ends an attribute


def test_to_html_writes_what_it_gives(tmp_path: Path) -> None:
    text = seen_training().to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_boxes_do_not_overlap_and_arrows_go_right() -> None:
    kernels = seen_training().kernels
    arrows = [(other, k.name) for k in kernels for other in k.needs]
    drawing = layered([k.name for k in kernels], arrows)
    places = list(drawing.boxes.values())
    for i, (x, y) in enumerate(places):
        assert BOX[0] / 2 <= x <= drawing.width - BOX[0] / 2
        assert BOX[1] / 2 <= y <= drawing.height - BOX[1] / 2
        for other_x, other_y in places[i + 1 :]:
            assert x != other_x or abs(y - other_y) >= BOX[1] + GAP[1] - 1e-9
    for a, b in arrows:
        assert drawing.boxes[a][0] < drawing.boxes[b][0]
        steps = [x for x, _ in drawing.arrows[a, b]]
        assert steps == sorted(steps)
