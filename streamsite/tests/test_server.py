"""deploy/README.md followed on a bare Debian: see deploy/server_test.sh."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/server_test.py"
#: Seconds: debootstrap, packages, a boot, and a channel on air on a busy machine.
PATIENCE = 1500


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_file_location("server_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Its dataclasses look for the module they stand in.
    sys.modules["server_test"] = module
    spec.loader.exec_module(module)
    return module


def test_the_commands_are_those_of_the_document(script: ModuleType) -> None:
    text = "# 1. One\n```sh\nfirst NAME\nsecond\n```\n**Two**, bold:\n```sh\nthird\n```\n"
    found = script.blocks(text)
    assert found == {"1. One": ["first NAME\nsecond"], "Two": ["third"]}
    assert script.block(found, "1. One", ("NAME", "x")) == "first x\nsecond"
    for heading, change in (("3. Three", ("a", "b")), ("1. One", ("no such", "b"))):
        with pytest.raises(script.WrongError, match=heading):
            script.block(found, heading, change)


def test_a_machine_that_can_not_do_it_says_why() -> None:
    said = subprocess.run(
        (sys.executable, str(SCRIPT), "sarge"), capture_output=True, text=True, check=False
    )
    assert said.returncode == 77
    assert "can't run here: sarge is none of bookworm, trixie" in said.stdout


@pytest.mark.slow
@pytest.mark.server
def test_the_documented_installation_holds() -> None:
    """On this machine's own release; the other: deploy/server_test.sh trixie."""
    done = subprocess.run(
        ("deploy/server_test.sh",), cwd=ROOT, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=PATIENCE,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-6000:]
