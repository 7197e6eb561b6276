from __future__ import annotations

from pathlib import Path

from semroute.router import Router

ROUTES = """
providers: {local: {dialect: echo}}
models:
  small: {provider: local, name: small, tier: simple}
  large: {provider: local, name: large, tier: complex}
default: {models: [small, large], policy: {difficulty: {by: exemplars}}}
tiers:
  - {tier: simple, utterances: [hello there, good morning, thanks a lot]}
  - {tier: complex, utterances: [prove the theorem, derive the equation, analyse the proof]}
"""


def test_exemplars_work_without_routes_and_survive_a_reload(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    router = Router.load(tmp_path)
    again = Router.load(tmp_path, previous=router)
    for one in (router, again):
        assert one.route("good morning to you, hello").model == "small"
        assert one.route("derive the equation and prove the theorem").model == "large"
        unsure = one.route("bananas and submarines in 1887")
        assert (unsure.wants, unsure.model) == (None, "large")
