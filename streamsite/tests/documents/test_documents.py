"""Commands in documents are run by a test or say that they are not; links lead somewhere."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from streams.outputs.platforms import PLATFORMS
from streamsite.tests.documents.blocks import ROOT, Block, blocks, documents

LANGUAGES: Final = {"sh", "ini", "json", "nginx", "python", "yaml", "hcl", "text"}
PAGES: Final = [str(path.relative_to(ROOT)) for path in documents()]


def test_a_block_names_its_language() -> None:
    assert [block.place for block in blocks() if block.language not in LANGUAGES] == []


@pytest.mark.parametrize(
    "block", [b for b in blocks() if b.language == "sh"], ids=lambda block: block.place
)
def test_commands_are_run_by_a_test_or_marked(block: Block) -> None:
    if not block.runner:
        assert block.is_excused, (
            "Write above it either <!-- Run by TEST.py. --> or *Not run by a test: needs ...*"
        )
        return
    runner = (ROOT / block.runner).read_text()
    if block.runner.startswith("deploy/"):
        # It takes blocks by the words before them.
        assert f'"{block.heading}"' in runner
        assert f'"{Path(block.document).relative_to("deploy")}"' in runner.replace(
            "deploy/", ""
        )
    elif "documents" not in block.runner:
        assert f'"{Path(block.document).name}"' in runner


@pytest.mark.parametrize("page", PAGES)
def test_no_commands_stand_outside_of_a_block(page: str) -> None:
    text = re.sub(r"(?ms)^```.*?^```", "", (ROOT / page).read_text())
    assert re.findall(r"(?m)^\n {4}\S.*$", text) == []


def anchors(path: Path) -> set[str]:
    """GitHub's names of the headings."""
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text())
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"(?ms)^```.*?^```", "", (ROOT / page).read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_document_is_in_the_readme() -> None:
    listed = (ROOT / "README.md").read_text().partition("## Documents")[2].partition("\n## ")[0]
    assert set(re.findall(r"\]\((deploy/[^)]+)\)", listed)) == set(PAGES) - {"README.md"}


@cache
def sentences() -> str:
    """Every text of the program and of its scripts."""
    texts: list[str] = []
    for folder in ("streams", "streamsite", "media_library"):
        for path in (ROOT / folder).rglob("*.py"):
            if {"tests", "migrations"} & {*path.parts}:
                continue
            texts += [
                node.value
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
    scripts = [path.read_text() for path in (ROOT / "deploy").glob("*.sh")]
    pages = [path.read_text() for path in (ROOT / "templates").rglob("*.html")]
    return "\n".join((*texts, *scripts, *pages))


@pytest.mark.parametrize("page", ["deploy/troubleshooting.md", "deploy/rollback.md"])
def test_quoted_sentences_are_the_products_own(page: str) -> None:
    rows = re.findall(r"(?m)^\| (.*?) \|", (ROOT / page).read_text())
    quoted = [words for row in rows for words in re.findall(r"\*(\S.*?)\*", row)]
    assert len(quoted) > 4
    missing = [
        part
        for words in quoted
        for part in re.split(r" ?… ?|“…”", words)
        if part.strip() not in sentences()
    ]
    assert missing == []


def test_documents_that_the_program_names_are_there() -> None:
    scripts = [path.read_text() for path in ROOT.glob("*/static/*/*.js")]
    named = set(re.findall(r"deploy/[\w/]+\.md", "\n".join((sentences(), *scripts))))
    assert {"deploy/README.md", "deploy/upload.md"} <= named <= set(PAGES)


def test_presets_are_those_of_the_outputs() -> None:
    text = (ROOT / "deploy/platforms.md").read_text()
    table = text.partition("| Platform |")[2].partition("\n\n")[0]
    for preset in PLATFORMS.values():
        hours = [
            f"{value:g} h" if value else "never"
            for value in (preset.session, preset.session_limit)
        ]
        address = f"`{preset.url}`" if preset.url else "yours"
        assert f"| {preset.label} | {address} | {' | '.join(hours)} |" in table
