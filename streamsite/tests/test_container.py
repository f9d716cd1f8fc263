"""deploy/container: what can be said of it without a Docker engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from conftest import need

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy/container"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
LASTING: Final = sorted(name for name, s in SERVICES.items() if s.get("restart") != "no")
OURS: Final = sorted(name for name, service in SERVICES.items() if "build" in service)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What prepare.sh makes."""
    folder: Path = tmp_path_factory.mktemp("container")
    for name in ("prepare.sh", "nginx.conf"):
        shutil.copy(FOLDER / name, folder)
    for _ in range(2):
        subprocess.run(("bash", folder / "prepare.sh", "tv.example.org"), check=True)
    return folder / "own"


@pytest.mark.parametrize("name", sorted({*LASTING} - {"shell"}))
def test_a_lasting_container_is_started_again_and_keeps_its_log_small(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"] == {"max-size": "50m", "max-file": "20"}
    # A tag of its own: what is pulled tomorrow is what was tried.
    assert re.search(r":[0-9]|^\$\{STREAMSITE_IMAGE", service["image"])


@pytest.mark.parametrize("name", sorted({*OURS} - {"migrate", "shell"}))
def test_a_part_has_a_check_of_its_health(name: str) -> None:
    test = SERVICES[name]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "python3", "deploy/container/healthy.py"]
    assert test[3:]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    # Settings hold secrets: they are a file, not the environment.
    assert set(service["environment"]) == {"ENV_FILE"}


def test_commands_are_commands_of_the_program() -> None:
    for name in OURS:
        program, *words = SERVICES[name]["command"]
        assert program == "python3"
        if words[0] == "manage.py" and words[1] != "shell":
            done = subprocess.run(
                (sys.executable, ROOT / "manage.py", *words[1:], "--help"),
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr


def test_the_image_runs_as_nobody_in_particular() -> None:
    lines = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    words = [
        line.split(maxsplit=1) for line in lines if line and not line.startswith(("#", " "))
    ]
    assert [w[0] for w in words].count("FROM") == 2
    assert not any(w[0] == "ADD" for w in words)
    assert all(
        ":" in w[1].split()[0] and ":latest" not in w[1] for w in words if w[0] == "FROM"
    )
    users = [w[1] for w in words if w[0] == "USER"]
    assert users == ["10001:10001"]
    for _, argument in (w for w in words if w[0] == "RUN" and "apt-get install" in w[1]):
        assert "--no-install-recommends" in argument
        assert "rm -rf /var/lib/apt/lists/*" in argument
    assert {"HEALTHCHECK", "ENTRYPOINT", "CMD"} <= {w[0] for w in words}


def test_preparing_makes_keys_once_and_keeps_them_closed(own: Path) -> None:
    before = (own / "settings.env").read_text()
    assert own.stat().st_mode & 0o777 == 0o700
    made = dict(
        line.split("=", 1) for line in before.splitlines() if line and not line.startswith("#")
    )
    assert made["ALLOWED_HOSTS"].startswith("tv.example.org")
    assert len(made["SECRET_KEY"]) == 64
    assert (own / "postgres_password").read_text().strip() in made["DATABASE_URL"]
    subprocess.run(("bash", own.parent / "prepare.sh", "tv.example.org"), check=True)
    assert (own / "settings.env").read_text() == before
    refused = subprocess.run(
        ("bash", own.parent / "prepare.sh"), capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "type the site's name" in refused.stderr) == (2, True)


@pytest.mark.slow
def test_nginx_takes_its_configuration(own: Path, tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    need(nginx, "nginx")
    text = (own / "nginx.conf").read_text()
    assert "tv.example.org" in text
    # Debian 12's nginx has HTTP/2 as a word of `listen`.
    text = text.replace("        http2 on;\n", "").replace(
        "/etc/nginx/certificate", f"{own}/certificate"
    )
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/nginx.pid;\n{text}")
    subprocess.run(
        (str(nginx), "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", "stderr"),
        check=True,
    )


def healthy(run_dir: Path, *parts: str) -> tuple[int, str]:
    done = subprocess.run(
        (sys.executable, FOLDER / "healthy.py", *parts),
        env=os.environ | {"RUN_DIR": str(run_dir), "PORT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_silent_part_is_not_healthy(tmp_path: Path) -> None:
    assert healthy(tmp_path, "playout") == (1, "playout: No such file or directory")
    alive = tmp_path / "playout.alive"
    alive.touch()
    assert healthy(tmp_path, "playout") == (0, "works")
    an_hour_ago = time.time() - 3600
    os.utime(alive, (an_hour_ago, an_hour_ago))
    status, sentence = healthy(tmp_path, "playout")
    assert (status, sentence.startswith("playout has been silent for 36")) == (1, True)
    status, sentence = healthy(tmp_path, "web")
    assert (status, "no page is served" in sentence) == (1, True)
