"""Release notes are the changelog's section, if all versions agree."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
CHANGES: Final = """# Changes

## 0.3.0, not yet released

- Later.

## 0.2.0, 2026-12-01

- One thing.
- Another.

## 0.1.0, 2026-11-01

- Before.
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "deploy")
    return import_module("release_notes")


def test_notes_are_the_section_of_the_version(script: ModuleType) -> None:
    assert script.notes("v0.2.0", CHANGES, {"a": "0.2.0"}) == "- One thing.\n- Another.\n"
    assert script.notes("v0.1.0", CHANGES, {}) == "- Before.\n"


@pytest.mark.parametrize(
    ("tag", "named", "sentence"),
    [
        ("v0.2.0", "0.3.0", "a has version 0.3.0, and the tag is v0.2.0"),
        ("v0.3.0", "0.3.0", "Write the day of the release for 'not yet released'"),
        ("v0.4.0", "0.4.0", "no section '## 0.4.0, DATE'"),
        # No pattern: a dot stands for itself.
        ("v0x2x0", "0x2x0", "no section"),
    ],
)
def test_what_does_not_agree_is_refused(
    script: ModuleType, tag: str, named: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        script.notes(tag, CHANGES, {"a": named})


def test_the_present_version_is_named_once() -> None:
    from streamsite import __version__  # noqa: PLC0415 - of this test alone

    assert f"\n## {__version__}, " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["test", "publish"])
def test_workflows_call_what_there_is(name: str) -> None:
    text = (ROOT / f".github/workflows/{name}.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    called = [word for run in runs for word in run.split() if word.startswith("deploy/")]
    assert called
    for job in jobs.values():
        for step in job["steps"]:
            called += [step["with"]["file"]] if "file" in step.get("with", {}) else []
    assert all((ROOT / path).is_file() for path in called)
