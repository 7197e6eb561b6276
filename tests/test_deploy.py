"""The dashboard and the alerts ask for metrics that exist."""

from __future__ import annotations

import json
import re

import yaml

from semroute.telemetry.prometheus import Gauges, Metrics
from tests.conftest import ROOT
from tests.stores.test_decision_log import record


def test_every_metric_that_is_asked_for_exists() -> None:
    metrics = Metrics()
    metrics.count(record(1))
    metrics.refuse("invalid_request")
    metrics.show(Gauges(0, 0, True, 0, {"small": False}, {"small": 1.0}))
    exported = metrics.render().decode()
    known = set(re.findall(r"^# TYPE (\w+)", exported, re.M))
    dashboard = json.loads((ROOT / "deploy/grafana/semroute.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    alerts = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text())
    asked += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    names = {re.sub(r"_bucket$", "", name) for expr in asked for name in re.findall(r"semroute_\w+", expr)}
    assert names <= known
    assert len(dashboard["panels"]) >= 10
