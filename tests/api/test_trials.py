"""A judge and a shadow in the real service: what the log, the statistics and the metrics show of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import Service, until
from tests.trials.stage import Cast, routes_yaml
from tests.vendors.server import VendorServer

TRIALS = """
shadow: {to: large, share: 1, budget_usd_per_day: 5}
judge: {model: judge, share: 1, pairwise: shadow}
"""


@pytest.mark.parametrize("stream", [False, True])
def test_the_service_makes_trials_and_shows_them(tmp_path: Path, stream: bool) -> None:
    cast = Cast(small="Paris", large="Rome", judge='{"better": "first"}')
    with VendorServer(cast) as vendor:
        (tmp_path / "routes").mkdir()
        (tmp_path / "routes" / "all.yaml").write_text(routes_yaml(vendor.url, TRIALS))
        with Service(tmp_path / "routes", tmp_path / "log") as service:
            asked = {"model": "auto", "messages": [{"role": "user", "content": "Capital?"}], "stream": stream}
            answered = service.client.post("/v1/chat/completions", json=asked)
            assert answered.status_code == 200 and "Paris" in answered.text
            id_ = answered.headers["x-semroute-decision"]
            assert until(lambda: len(service.client.get(f"/decisions/{id_}").json().get("trials", ())) == 2)
            record = service.client.get(f"/decisions/{id_}").json()
            judge, shadow = sorted(record["trials"], key=lambda trial: str(trial["purpose"]))
            assert (shadow["model"], shadow["detail"]["same_text"]) == ("large", False)
            assert (judge["verdict"], judge["detail"]["flipped"]) == ("tie", True)
            assert [attempt["model"] for attempt in record["attempts"]] == ["small"]
            totals = service.client.get("/stats?by=purpose").json()["rows"]
            assert {row["value"]: row["requests"] for row in totals} == {"judge": 1, "shadow": 1}
            metrics = service.client.get("/metrics").text
            assert 'semroute_trials_total{outcome="ok",purpose="judge"} 1.0' in metrics
        command = [sys.executable, "-m", "semroute", "shadow", f"sqlite:///{service.database}"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "the served answer would have done: 100.0%" in told
