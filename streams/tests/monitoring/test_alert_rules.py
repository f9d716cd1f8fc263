"""The Prometheus rules and the Grafana dashboard of deploy/: they ask for what is exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from streams.monitoring import prometheus
from streams.monitoring.verdict import Level
from streams.playout.contract.states import AirState, OutputAir
from streams.tests import rows

DEPLOY: Final = Path(__file__).parents[3] / "deploy"
RULES: Final = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD: Final = DEPLOY / "grafana" / "streamsite.json"
NAME: Final = re.compile(r"\bstreamsite_[a-z_]+")
STATES: Final = {
    "streamsite_channel_state": {*AirState, "unknown"},
    "streamsite_output_state": {*OutputAir, "unknown"},
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    result: list[dict[str, Any]] = group["rules"]
    return result


def panels() -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return result


def expressions() -> Iterator[str]:
    for rule in rules():
        yield rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        yield variable["query"]


@pytest.mark.django_db
def test_every_metric_and_label_is_exported() -> None:
    channel = rows.channel()
    rows.output(channel)
    rows.node()
    rows.on_air(channel)
    families = list(text_string_to_metric_families(prometheus.text(timezone.now()).decode()))
    # An information is exported as NAME_info.
    exported = {
        family.name + ("_info" if family.type == "info" else "") for family in families
    } | {sample.name for family in families for sample in family.samples}
    labels = {sample.name: set(sample.labels) for one in families for sample in one.samples}
    used = {name for text in expressions() for name in NAME.findall(text)}
    assert used - {"streamsite_info"} <= exported
    assert {name for name in exported if name in labels} - used == set(), "all are shown"
    for text in expressions():
        for name, selector in re.findall(r"(streamsite_\w+)\{([^}]*)\}", text):
            for label in re.findall(r"(\w+)\s*=~?", selector):
                assert label in labels.get(name, {label}), (name, label)


def test_every_state_that_they_name_exists() -> None:
    for text in expressions():
        for name, states in re.findall(r'(streamsite_\w+)\{[^}]*state=~?"([^"]+)"', text):
            assert set(states.split("|")) <= STATES[name], text
        for levels in re.findall(r'level=~?"([^"]+)"', text):
            assert set(levels.split("|")) <= set(Level), text


def test_every_verdict_has_a_colour_of_its_own() -> None:
    (panel,) = (one for one in panels() if one["title"] == "Verdicts on outputs")
    (target,) = panel["targets"]
    matches = re.findall(
        r'(\d) \* [^"]+"\$channel", part="whole", level=~"(\w+)"', target["expr"]
    )
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    shown = {level: mapping["options"][number] for number, level in matches}
    assert {level: option["text"] for level, option in shown.items()} == {
        level.value: level.value.capitalize() for level in Level
    }
    assert len({option["color"] for option in shown.values()}) == len(Level)


def test_every_state_of_a_channel_has_a_colour() -> None:
    for panel, name in zip(panels(), STATES, strict=False):
        (target,) = panel["targets"]
        groups = re.findall(r'state=~"([^"]+)"', target["expr"])
        named = {state for part in groups for state in part.split("|")}
        assert named == STATES[name] - {"off"}, "off is zero"


def test_alerts_have_a_severity_and_a_summary() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]


# ---- promtool --------------------------------------------------------------------------------


def promtool(*argv: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("This machine has no promtool: Debian's package prometheus has it.")
    done = subprocess.run([program, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))


#: The state of a channel that is ordered on, and what fires after ten minutes of it.
CASES: Final = {
    "failing": "ChannelOffAir",
    "unknown": "ChannelUnknown",
    "starting": "ChannelDoesNotStart",
    "degraded": "ChannelDegraded",
    "on_air": "",
}


def test_a_state_fires_its_own_alert(tmp_path: Path) -> None:
    made = tmp_path / "tests.yml"
    tests = [_case(state, alert) for state, alert in CASES.items()]
    made.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": tests}))
    promtool("test", "rules", str(made))


def _case(state: str, alert: str) -> dict[str, Any]:
    series = {
        'streamsite_info{version="1"}',
        'streamsite_channel_ordered{channel="demo"}',
        f'streamsite_channel_state{{channel="demo", state="{state}"}}',
    }
    return {
        "interval": "1m",
        "input_series": [{"series": one, "values": "1x20"} for one in sorted(series)],
        "alert_rule_test": [
            {
                "eval_time": "10m",
                "alertname": rule["alert"],
                "exp_alerts": [_alert(rule, state)] if rule["alert"] == alert else [],
            }
            for rule in rules()
        ],
    }


#: The verdict on an output, and what fires after ten minutes of it.
VERDICTS: Final = {
    Level.HEALTHY: "",
    Level.DEGRADED: "OutputDegraded",
    Level.DOWN: "OutputDown",
    Level.UNKNOWN: "OutputUnknown",
}


def test_a_verdict_fires_its_own_alert(tmp_path: Path) -> None:
    made = tmp_path / "tests.yml"
    tests = [_verdict_case(level, alert) for level, alert in VERDICTS.items()]
    made.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": tests}))
    promtool("test", "rules", str(made))


def _verdict_case(level: Level, alert: str) -> dict[str, Any]:
    """The part `theirs` is down throughout: a part alone fires nothing."""
    labels = {"channel": "demo", "output": "1", "name": "Main"}
    whole = {**labels, "part": "whole", "level": level.value}
    series = (
        'streamsite_info{version="1"}',
        _series("streamsite_output_verdict", whole),
        _series("streamsite_output_verdict", {**labels, "part": "theirs", "level": "down"}),
    )
    return {
        "interval": "1m",
        "input_series": [{"series": one, "values": "1x20"} for one in series],
        "alert_rule_test": [
            {
                "eval_time": "10m",
                "alertname": rule["alert"],
                "exp_alerts": [_filled(rule, whole)] if rule["alert"] == alert else [],
            }
            for rule in rules()
        ],
    }


def _series(name: str, labels: dict[str, str]) -> str:
    listed = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{listed}}}"


def _alert(rule: dict[str, Any], state: str) -> dict[str, Any]:
    labels = {"channel": "demo"}
    if "streamsite_channel_ordered" not in rule["expr"]:
        labels["state"] = state
    return _filled(rule, labels)


def _filled(rule: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """The labels and texts of a firing alert, as promtool compares them."""
    texts = {
        key: re.sub(r"{{ \$labels\.(\w+) }}", lambda match: labels[match[1]], text)
        for key, text in rule["annotations"].items()
    }
    return {"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": texts}
