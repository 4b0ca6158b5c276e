"""The Python in README.md and docs/ is executed, so that no page shows what does not work.

The blocks of one page, each fenced as ``python``, run in their order as one program. A line ``<!-- network -->`` just
before a block keeps it for `nox -s network`. Every other fence (``console``, ``text``, ``json``…) is not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?P<marker><!-- network -->\n+)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One Python block of a page."""

    line: int  #: of the page, where the code begins
    code: str
    needs_network: bool


def read_blocks(page: str) -> list[Block]:
    return [
        Block(page.count("\n", 0, found.start("code")) + 1, found["code"], found["marker"] is not None)
        for found in BLOCK.finditer(page)
    ]


def as_program(blocks: list[Block]) -> str:
    """Join blocks, each at its own line of the page, so that a traceback names the page's lines."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    return "\n".join(lines) + "\n"


def run_page(page: Path, blocks: list[Block], folder: Path) -> None:
    program = folder / page.with_suffix(".py").name
    program.write_text(as_program(blocks), "utf-8")
    environment = {**os.environ, "AIOC_CACHE_DIR": str(folder / "cache"), "PYTHONWARNINGS": "error"}
    ran = subprocess.run(
        [sys.executable, program], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, f"{page.relative_to(ROOT)}:\n{ran.stdout}{ran.stderr}"


def pages_with(*, network: bool) -> list[object]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if any(block.needs_network is network for block in read_blocks(page.read_text("utf-8")))
    ]


@pytest.mark.parametrize("page", pages_with(network=False))
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, [block for block in read_blocks(page.read_text("utf-8")) if not block.needs_network], tmp_path)


@pytest.mark.network
@pytest.mark.parametrize("page", pages_with(network=True))
def test_the_python_of_a_page_that_needs_an_index_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, read_blocks(page.read_text("utf-8")), tmp_path)


def test_a_block_that_fails_fails_the_page_and_names_its_line(tmp_path: Path) -> None:
    page = "Title\n\n```python\nx = 1\n```\n\n```console\nnot Python\n```\n\n```python\nassert x == 2\n```\n"
    with pytest.raises(AssertionError, match="line 12"):
        run_page(ROOT / "README.md", read_blocks(page), tmp_path)


def test_a_block_marked_network_is_kept_apart() -> None:
    page = "<!-- network -->\n```python\nfetch()\n```\n\n```python\npass\n```\n"
    assert [Block(3, "fetch()\n", needs_network=True), Block(7, "pass\n", needs_network=False)] == read_blocks(page)


def test_links_between_pages_lead_to_files() -> None:
    link = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "spec" / "README.md"]
        for target in link.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead
