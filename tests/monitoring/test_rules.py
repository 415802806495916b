"""Rules: kept as the code makes them, accepted by promtool; every alert fires and ends."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from programs import program
from rule_case import Case, Series
from service_rule_cases import SERVICE_CASES
from work_rule_cases import WORK_CASES

from lmserve.errors import OptionError
from lmserve.metrics.catalogue import CATALOGUE
from lmserve.metrics.declaration import Kind
from lmserve.monitoring.rules.files import FOLDER, files, groups, write
from lmserve.monitoring.rules.objectives import Objectives
from lmserve.monitoring.rules.rule import RUNBOOK, Alert, Clock, Group, Recording

CASES = (*SERVICE_CASES, *WORK_CASES)
DOCUMENT = Path(__file__).parents[2] / RUNBOOK
RULES = [rule for group in groups() for rule in group.rules]
ALERTS = [rule for rule in RULES if isinstance(rule, Alert)]
RECORDED = {rule.name for rule in RULES if isinstance(rule, Recording)}
NAME = re.compile(r"[a-z_]*:?lmserve_[a-z_]+(?::[a-z0-9_]+)?")
SELECTOR = re.compile(r"(lmserve_[a-z_]+)\{([^}]*)\}")
BY = {"cluster", "instance", "job"}


def promtool(*arguments: object) -> str:
    command = [program("promtool", "prometheus"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_kept_rules_are_those_that_the_code_makes() -> None:
    assert {path.name: path.read_text() for path in FOLDER.glob("*.yml")} == files()


def test_promtool_accepts_them() -> None:
    told = promtool("check", "rules", "--lint=all", "--lint-fatal", *FOLDER.glob("*.yml"))
    assert sum(map(int, re.findall(r"(\d+) rules found", told))) == len(RULES)


def test_names_of_alerts_are_unique() -> None:
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_expressions_use_declared_metrics_and_labels(rule: Alert | Recording) -> None:
    shown = {}
    for declared in CATALOGUE.values():
        histogram = declared.kind is Kind.HISTOGRAM
        for suffix in ("_bucket", "_count", "_sum") if histogram else ("",):
            labels = {*declared.labels, "le"} if suffix == "_bucket" else {*declared.labels}
            shown[declared.shown + suffix] = labels
    expression = re.sub(r'"[^"]*"', '""', rule.expression)
    used = set(NAME.findall(expression))
    assert used <= shown.keys() | RECORDED
    assert used or "up{" in expression
    for metric, selector in SELECTOR.findall(expression):
        assert set(re.findall(r"(\w+)!?[=~]", selector)) <= shown[metric]
    for labels in re.findall(r"by \(([^)]*)\)", expression):
        known = set().union(*(shown.get(one, set()) for one in used))
        assert set(labels.split(", ")) <= known | BY


def test_every_alert_has_its_section_of_the_runbook_and_every_section_its_alert() -> None:
    headings = re.findall(r"^### (Lmserve\w+)$", DOCUMENT.read_text(), re.MULTILINE)
    assert headings == [alert.name for alert in ALERTS]
    for alert in ALERTS:
        assert alert.as_rule()["annotations"]["runbook_url"] == f"{RUNBOOK}#{alert.name.lower()}"


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("group", groups(), ids=lambda group: group.name)
def test_alerts_fire_not_below_their_thresholds_and_end(group: Group, tmp_path: Path) -> None:
    names = {rule.name for rule in group.rules}
    cases = [case for case in CASES if case.alert in names]
    for step in {case.step for case in cases}:
        content = {
            "rule_files": [str(FOLDER / f"{group.name}.yml")],
            "evaluation_interval": f"{step}m",
            "tests": [one for case in cases if case.step == step for one in promtool_tests(case)],
        }
        # JSON is YAML.
        (tmp_path / f"{step}.yml").write_text(json.dumps(content))
    promtool("test", "rules", *tmp_path.glob("*.yml"))


def promtool_tests(case: Case) -> list[dict[str, Any]]:
    """A case, and each of its series that stay below."""
    silent = dict.fromkeys((case.before, case.fires, case.ends), False)
    below = [
        promtool_test(f"{case.alert} below {number}", case, {**case.series, **changed}, silent)
        for number, changed in enumerate(case.below)
    ]
    return [promtool_test(case.alert, case, case.series, {**silent, case.fires: True}), *below]


def promtool_test(name: str, case: Case, series: Series, firing: dict[int, bool]) -> dict[str, Any]:
    expression = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    return {
        "name": name,
        "interval": f"{case.step}m",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
            for minute, fires in firing.items()
        ],
    }


def test_other_objectives_make_other_rules(tmp_path: Path) -> None:
    write(tmp_path, Objectives(failing=0.005, slow_s=2.5))
    promtool("check", "rules", *tmp_path.glob("*.yml"))
    requests = (tmp_path / "lmserve-requests.yml").read_text()
    assert "14.4 * 0.005" in requests
    assert 'le="2.5"' in requests
    with pytest.raises(OptionError, match=r"slow_s is 0\.3"):
        Objectives(slow_s=0.3)


def test_a_clock_shortens_every_duration(tmp_path: Path) -> None:
    write(tmp_path, clock=Clock(lambda seconds: seconds / 60))
    promtool("check", "rules", *tmp_path.glob("*.yml"))
    durations = {
        duration
        for path in tmp_path.glob("*.yml")
        for duration in re.findall(r"(?:\[|offset |for: )(\d+[a-z]+)", path.read_text())
    }
    assert {"5000ms", "60000ms", "10080000ms"} <= durations
    assert all(duration.endswith("ms") for duration in durations)
