"""deploy/terraform: formatted, valid, and as narrow as the program allows. Never applied."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from conftest import need
from streamsite import settings as site
from streamsite.config.env import broker
from streamsite.processes.sqs import Sqs

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy/terraform"
#: The permission of each method of boto3's client that has another name.
PERMISSIONS: Final = {
    "list_objects_v2": {"ListBucket"},
    "head_object": {"GetObject"},
    "download_file": {"GetObject"},
    "upload_file": {"PutObject", "AbortMultipartUpload"},
    "create_multipart_upload": {"PutObject"},
    "upload_part": {"PutObject"},
    "complete_multipart_upload": {"PutObject"},
    "list_parts": {"ListMultipartUploadParts"},
    "list_multipart_uploads": {"ListBucketMultipartUploads"},
    # No call: it signs one that stands beside it.
    "generate_presigned_url": set(),
    "get_paginator": set(),
    "close": set(),
}


def terraform(*words: str, folder: Path = FOLDER) -> str:
    """Runs Terraform, which may fetch nothing; its output. Raises `AssertionError`."""
    done = subprocess.run(
        ("terraform", *words),
        cwd=folder, env=os.environ | {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def plugins() -> tuple[str, ...]:
    """How `init` finds the provider here: it is too large for a test to fetch."""
    if not shutil.which("terraform"):
        pytest.skip("This machine has no terraform.")
    if folder := os.environ.get("TF_PLUGIN_DIR"):
        return (f"-plugin-dir={folder}",)
    if Path(os.environ.get("TF_CLI_CONFIG_FILE", "/nowhere")).is_file():
        return ()
    pytest.skip(
        "Neither TF_PLUGIN_DIR nor TF_CLI_CONFIG_FILE says where the provider is: see "
        "deploy/terraform/README.md."
    )


def test_files_are_formatted() -> None:
    if not shutil.which("terraform"):
        pytest.skip("This machine has no terraform.")
    terraform("fmt", "-check", "-recursive", "-diff")


@pytest.mark.slow
def test_the_documented_root_is_valid(plugins: tuple[str, ...], tmp_path: Path) -> None:
    (text,) = re.findall(
        r"^```hcl\n(.*?)^```", (FOLDER / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    source = 'source = "git::ADDRESS-OF-THE-REPOSITORY//deploy/terraform?ref=v0.1.0"'
    # An absolute path is copied; this one is read where it stands.
    here = f'source = "{os.path.relpath(FOLDER, tmp_path)}"'
    assert source in text
    (tmp_path / "main.tf").write_text(text.replace(source, here))
    terraform("init", "-backend=false", "-input=false", *plugins, folder=tmp_path)
    assert "The configuration is valid." in terraform("validate", "-no-color", folder=tmp_path)


def test_settings_of_the_tasks_are_settings_of_the_program() -> None:
    text = (FOLDER / "services.tf").read_text()
    (block,) = re.findall(
        r"^  environment = merge\(\{\n(.*?)^  \}", text, re.MULTILINE | re.DOTALL
    )
    plain = set(re.findall(r"(?m)^    ([A-Z_]+) += ", block))
    (listed,) = re.findall(r"^  secrets = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    handed = {
        *re.findall(r"[A-Z_]+", listed),
        *re.findall(r'name = "([A-Z_]+)", valueFrom', text),
    }
    written = set(re.findall(r"(?m)^    ([A-Z_]+) += ", (FOLDER / "secrets.tf").read_text()))
    assert plain
    assert handed == written
    assert plain | handed <= set(site.env.defaults)
    # No secret is in the plain environment, which everybody who may see a task reads.
    assert not plain & handed


def test_commands_are_those_of_the_containers() -> None:
    ours = re.findall(
        r'^ +command = (\["python3".*\])$', (FOLDER / "services.tf").read_text(), re.MULTILINE
    )
    compose = (ROOT / "deploy/container/compose.yml").read_text()
    assert len(ours) == 3
    for command in ours:
        # The pages open their second address for this task alone.
        assert f"command: {command.replace('127.0.0.1:8000', '0.0.0.0:8000')}" in compose


def statements(text: str, service: str) -> set[str]:
    return set(re.findall(rf'"{service}:(\w+)"', text))


def test_queues_and_permissions_are_those_that_the_broker_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    iam = (FOLDER / "iam.tf").read_text()
    (names,) = re.findall(r'"sqs" \? toset\(\[(.*?)\]\)', (FOLDER / "stores.tf").read_text())
    queues = re.findall(r'"(\w+)"', names)
    assert set(queues) == set(site.CLUSTERS.values())
    from django_q.conf import Conf  # noqa: PLC0415 - after the settings are chosen

    for name, value in broker("sqs://eu-central-1").items():
        monkeypatch.setattr(Conf, name.upper(), value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "k")
    called: list[str] = []
    call: Any = vars(BaseClient)["_make_api_call"]

    def noted(self: Any, operation: str, params: dict[str, Any]) -> Any:
        called.append(operation)
        return call(self, operation, params)

    with mock_aws():
        boto3.client("sqs", "eu-central-1").create_queue(QueueName=queues[0])
        monkeypatch.setattr(BaseClient, "_make_api_call", noted)
        queue = Sqs(queues[0])
        queue.enqueue("work")
        putting = set(called)
        called.clear()
        ((receipt, _),) = queue.dequeue()
        queue.acknowledge(receipt)
        taking = set(called)
    for actions, operations in zip(
        re.findall(r'\["sqs:.*?\]', iam), (putting, taking), strict=True
    ):
        assert statements(actions, "sqs") == operations


def test_permissions_on_the_bucket_are_those_of_the_calls() -> None:
    client: Any = boto3.client(
        "s3", "eu-central-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    calls = {*client.meta.method_to_api_mapping, *PERMISSIONS}
    used = set()
    for path in (*ROOT.glob("media_library/**/*.py"), *ROOT.glob("streamsite/backups/*.py")):
        if "tests" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text())):
                word = getattr(node, "attr", None) or getattr(node, "value", None)
                used |= {word} & calls if isinstance(word, str) else set()
    needed = {
        permission
        for method in used
        for permission in PERMISSIONS.get(
            method, {client.meta.method_to_api_mapping.get(method, method)}
        )
    }
    storage = (FOLDER / "iam.tf").read_text().partition('"storage" {')[2]
    assert statements(storage, "s3") == needed


@pytest.mark.slow
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    need(nginx, "nginx")
    text = (FOLDER / "nginx.conf.tftpl").read_text()
    text = text.replace("${port}", "8080").replace("${network}", "10.20.0.0/16")
    assert "${" not in text
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/nginx.pid;\n{text}")
    subprocess.run(
        (str(nginx), "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", "stderr"),
        check=True,
    )
