"""Where Amazon Bedrock's requests go, and what is said where nothing names a region or the library is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from semroute.config.schema.providers import ProviderSettings
from tests.config.reading import ROUTE, Read, said, sound

NO_PROFILE = {"AWS_CONFIG_FILE": "/nowhere/config"}
MISSING = "`region` is missing, expected one such as `region: eu-central-1`, or AWS_REGION in the environment"


def bedrock(fields: str) -> str:
    return f"""
providers:
  aws: {{dialect: bedrock{fields}}}
models:
  claude: {{provider: aws, name: eu.anthropic.claude-sonnet-4-5-20250929-v1:0, input_price: 3}}
"""


def provider(read_files: Read, fields: str, **environ: str) -> ProviderSettings:
    return sound(read_files(x=bedrock(fields), y=ROUTE, environ={**NO_PROFILE, **environ})).providers["aws"]


@pytest.mark.parametrize(
    ("fields", "environ", "region", "base_url"),
    [
        (", region: eu-central-1", {}, "eu-central-1", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        (", region: eu-west-1", {"AWS_REGION": "x"}, "eu-west-1", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ("", {"AWS_REGION": "us-west-2"}, "us-west-2", "https://bedrock-runtime.us-west-2.amazonaws.com"),
        ("", {"AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2", "https://bedrock-runtime.us-west-2.amazonaws.com"),
        ('', {"AWS_REGION": "us-gov-west-1", "AWS_DEFAULT_REGION": "x"}, "us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        (', region: "${R}"', {"R": "eu-north-1"}, "eu-north-1", "https://bedrock-runtime.eu-north-1.amazonaws.com"),
        (', base_url: "https://bedrock-runtime.eu-central-1.amazonaws.com"', {"AWS_REGION": "x"}, "eu-central-1", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        (', base_url: "https://bedrock-runtime-fips.us-east-1.amazonaws.com"', {}, "us-east-1", "https://bedrock-runtime-fips.us-east-1.amazonaws.com"),
        (', base_url: "https://vpce-0a1b.bedrock-runtime.us-east-1.vpce.amazonaws.com"', {}, "us-east-1", "https://vpce-0a1b.bedrock-runtime.us-east-1.vpce.amazonaws.com"),
        (', base_url: "https://proxy.example", region: eu-west-1', {}, "eu-west-1", "https://proxy.example"),
        (', base_url: "https://proxy.example", api_key: k', {}, "", "https://proxy.example"),
    ],
)  # fmt: skip
def test_the_region_is_found_where_a_user_of_aws_names_it(
    read_files: Read, fields: str, environ: dict[str, str], region: str, base_url: str
) -> None:
    found = provider(read_files, fields, **environ)
    assert (found.region, found.base_url, found.unavailable) == (region, base_url, "")


@pytest.mark.parametrize(
    ("text", "profile", "region"),
    [
        ("[default]\nregion = eu-west-3\n", {}, "eu-west-3"),
        ("[profile work]\nregion = eu-west-2\n", {"AWS_PROFILE": "work"}, "eu-west-2"),
        ("[profile work]\nregion = eu-west-2\n", {"AWS_DEFAULT_PROFILE": "work"}, "eu-west-2"),
        ("[profile default]\nregion = eu-west-1\n", {}, "eu-west-1"),
    ],
)
def test_the_region_of_the_profile_is_the_last_resort(
    read_files: Read, tmp_path: Path, text: str, profile: dict[str, str], region: str
) -> None:
    (tmp_path / "aws").write_text(text)
    assert provider(read_files, "", AWS_CONFIG_FILE=str(tmp_path / "aws"), **profile).region == region


@pytest.mark.parametrize("text", ["", "no section", "[profile other]\nregion = eu-west-2\n"])
def test_without_a_region_there_is_nowhere_to_go(read_files: Read, tmp_path: Path, text: str) -> None:
    (tmp_path / "aws").write_text(text)
    environ = {"AWS_CONFIG_FILE": str(tmp_path / "aws")}
    assert said(read_files(x=bedrock(""), y=ROUTE, environ=environ)) == [f"x.yaml:3 $.providers.aws: {MISSING}"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (', base_url: "https://proxy.example"', f"x.yaml:3 $.providers.aws: {MISSING}"),
        (", api_key: k", f"x.yaml:3 $.providers.aws: {MISSING}"),
        (
            ", region: Frankfurt",
            'x.yaml:3 $.providers.aws.region: got "Frankfurt", expected a region such as `eu-central-1`',
        ),
        (
            ', region: "${R}"',
            "x.yaml:3 $.providers.aws: `R` is not set: these models cannot be called: `claude`",
        ),
    ],
)
def test_what_is_wrong_with_a_region_is_said_at_its_line(read_files: Read, fields: str, message: str) -> None:
    told = said(read_files(x=bedrock(fields), y=ROUTE, environ=NO_PROFILE))
    assert told == [message]


def test_a_wrong_region_of_the_environment_is_said_at_the_provider(read_files: Read) -> None:
    told = said(read_files(x=bedrock(""), y=ROUTE, environ={**NO_PROFILE, "AWS_REGION": "home"}))
    assert told == ['x.yaml:3 $.providers.aws: got "home", expected a region such as `eu-central-1`']


def test_a_region_belongs_to_bedrock(read_files: Read) -> None:
    (line,) = said(read_files(x="providers: {p: {base_url: https://x, region: eu-central-1}}"))
    assert line.endswith('got "eu-central-1", but only the bedrock dialect has regions')


def test_without_the_extra_its_models_cannot_be_called(read_files: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    text = bedrock(", region: eu-central-1") + "default: {models: [claude]}\n"
    base = "routes: [{name: a, utterances: [one, two, three, four, five], models: [claude]}]"
    config, problems = read_files(x=text, base=base)
    reason = "the extra `bedrock` is not installed (pip install 'semroute-gateway[bedrock]')"
    assert [str(problem) for problem in problems] == [
        f"x.yaml:3 $.providers.aws: {reason}: these models cannot be called: `claude`",
    ]
    assert {problem.severity for problem in problems} == {"warning"}
    assert config is not None
    assert config.providers["aws"].unavailable == reason
