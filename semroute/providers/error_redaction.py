"""Hide what no caller may see of a provider's errors: addresses, keys, accounts, and the pages of proxies.

The provider's own address is known from the route files, and is found in all forms that other programs write. Other
addresses are found by their form: proxies and gateways name the machines behind them.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from semroute.dialects.shared.error_bodies import PAGE

HIDDEN = "[hidden]"
"""What an error says in place of what is found by its form."""
SOMEWHERE = "the provider"
"""What an error says in place of the address."""
_PORTS = {"http": 80, "https": 443}
_ANY_IP = r"(?:\d{1,3}\.){3}\d{1,3}"

# Each repetition has a limit, so that the search in a text never takes long.
_TLD = r"(?:local|localdomain|internal|intranet|lan|corp|home|svc)"
_ZONE = r"(?:%[\w.-]{1,16})?"
_IPV6 = (
    r"(?:(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|(?:[23][0-9a-f]{3}|f[cd][0-9a-f]{2}|fe[89ab][0-9a-f])"
    r"(?::[0-9a-f]{1,4}){0,6}::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?"
    rf"|::(?:ffff:(?:0:)?)?{_ANY_IP}|::1(?::\d{{1,5}})?){_ZONE}"
)
"""Of the short forms only those that are in use: `add::dead` is no address."""
_SLASH = r"(?:\\?/|%2f|\\u002f)"
_COLON = r"(?::|%3a|\\u003a)"
"""As they are written, in JSON, and in an address inside another one."""
_ADDRESSES = re.compile(
    # a URL whose host is an IP address, an inner name or a single word, or has a port
    r"\b(?:https?|grpcs?|wss?|tcp|udp|dns|redis|postgres(?:ql)?)"
    rf"{_COLON}{_SLASH}{{2,3}}(?:[^\s/@\"'<>\\]{{1,200}}@)?"
    rf"(?:{_ANY_IP}|\[[0-9a-f:.%]{{2,60}}\]|[\w-]{{1,63}}(?![\w.-])|(?:[\w-]{{1,63}}\.){{1,8}}(?:{_TLD}(?![\w.-])"
    rf"|[a-z][\w-]{{1,62}}{_COLON}\d{{2,5}}))(?:[^\s\"'<>\\]|\\/|\\u002f){{0,500}}"
    # a URL that nginx names, a socket, and the name of a machine at AWS
    r"|(?:(?<=\bupstream: [\"'])|(?<=\bupstream: \\[\"']))https?:[^\s\"'<>\\]{1,500}|\bunix:/{1,3}[^\s\"'<>\\]{1,200}"
    r"|(?<![\w.-])ip(?:-\d{1,3}){4}(?:\.[a-z0-9-]{1,63}){0,6}"
    r"|(?:(?<=\bENOTFOUND )|(?<=\bEAI_AGAIN ))[\w.-]{1,200}"
    rf"|(?<![\w.]){_ANY_IP}:\d{{1,5}}\b"
    # an IP address of a private network
    r"|(?<![\w.])(?:(?:10|127)(?:\.\d{1,3}){3}|(?:192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01])"
    r"|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7]))(?:\.\d{1,3}){2})(?![\w.]\d)"
    rf"|(?<![\w:.])(?:\[(?:{_IPV6})\](?::\d{{1,5}})?|(?:{_IPV6})(?![\w:]))"
    # a name with a port, and an inner name
    r"|(?<![\w.-])(?:localhost(?::\d{1,5})?|(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}:\d{2,5})\b"
    rf"|(?<![\w.-])(?:[\w-]{{1,63}}\.){{1,8}}{_TLD}\b(?![\w-]|\.\w)(?::\d{{1,5}})?"
    r"|(?:(?<=\bto )|(?<=\bat )|(?<=\btcp )|(?<=\bhost )|(?<=\blookup )|(?<=\bupstream )|(?<=@)"
    r"|(?<=\breach )|(?<=\bnode )|(?<=\bserver )|(?<=\bbackend )|(?<=\bfrom ))"
    r"(?!(?:line|data|byte|position):)[a-z][\w-]{0,62}"
    r":\d{2,5}\b|(?<=[\"'(])[a-z][\w-]{0,62}:\d{4,5}(?=[\"')\\])"
    r"|\bhost=(?:(?P<quote>\\?['\"])[\w.:-]{1,200}(?P=quote)|[\w.:-]{1,200})(?:,\s?port=\d{1,5})?",
    re.IGNORECASE,
)
_KEYS = re.compile(
    r"\b(?:sk|rk|pk)-(?=[\w.-]{0,60}[\d*])[\w*.-]{8,300}|\b(?:gsk_|xai-|hf_|r8_|fw_|nvapi-|pplx-|tgp_v1_|csk-|gh[opsu]_|github_pat_|glpat-|xox[bp]-)[\w*-]{8,300}"
    r"|\bAIza[\w*-]{16,200}|\b(?:AKIA|ASIA)[A-Z0-9]{12,40}|\b[Bb]earer\s{1,3}[\w.~+/=*-]{8,2000}"
    r"|\beyJ[\w-]{8,2000}\.[\w-]{8,2000}(?:\.[\w-]{0,2000})?"
    # an account: OpenAI's organizations and projects, AWS's names, Google's projects
    r"|\b(?:org-|proj_|acct_)(?=[A-Za-z]{0,64}\d)[A-Za-z0-9]{12,64}\b|\barn:aws[\w-]{0,20}:[\w:/.*@+=-]{1,300}|(?<=\bprojects/)[\w-]{1,64}"
    r"|\b[\w.-]{1,64}@[\w-]{1,64}\.iam\.gserviceaccount\.com|(?<=\bsubscriptions/)[\w-]{1,64}(?:/resourceGroups/[\w.-]{1,90})?"
)
_SECRETS = re.compile(
    r"((?:[?&]|%3f|%26|\\u0026)(?:[\w-]{0,20}(?:key|token|secret|password|credential)|sig|signature)(?:=|%3d))[^\s&\"'<>\\%]{1,2000}"
    r"|(\bauthorization[\\\"']{0,2}\s?[:=]\s?[\\\"']{0,2}basic\s)[\w+/=]{4,2000}"
    r"|((?<![\w-])[\w-]{0,20}(?:api|access)[-_ ]?key[\\\"']{0,2}"
    r"(?:(?:\s?[:=]|\s(?:provided|given)?:?)\s?)[\\\"']{0,2})(?=[\w+/.*-]{0,100}[\d*])[\w+/.*-]{8,300}",
    re.IGNORECASE,
)
"""What follows a word for a secret, as in the query of a URL."""
_ACCOUNTS = re.compile(
    r"\b((?:account|project|organi[sz]ation|tenant|subscription)(?:[ _]?(?:id|number))?"
    r"[\\'\"`]{0,2}\s{0,2}[:=#]?\s{0,2}[\\'\"`]{0,2})(?=[\w-]{0,64}\d)[\w-]{6,64}",
    re.IGNORECASE,
)
_PAGE = re.compile(r"<(?:!doctype|html|body|head(?=\s?>))\b.*", re.IGNORECASE | re.DOTALL)
_PAGE_IN_JSON = re.compile(r"<(?:!doctype|html|body|head(?=\s?>))\b(?:[^\"\\]|\\.)*", re.IGNORECASE | re.DOTALL)


def place_of(base_url: str) -> re.Pattern[str] | None:
    """Return a pattern that finds a provider's address. None: the address is malformed, so it is never called.

    It finds the address with or without its scheme, credentials, port and path: `http://10.0.0.5:8000/v1`,
    `10.0.0.5:8000`, `10.0.0.5 port 8000`, `host='10.0.0.5', port=8000`. A name without a dot may also be that of
    a model, so it is found only with a scheme or a port. Any IP address with the provider's port is found, too.
    """
    try:
        url = urlsplit(base_url.rstrip("/"))
        host, port = url.hostname, url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None
    if not host or port is None:
        return None
    name = rf"(?:(?<![\w.-])|(?<=%2f))\[?{re.escape(host)}\]?(?![\w-]|\.\w)"
    scheme = rf"https?{_COLON}{_SLASH}{{2}}(?:[^\s/@]{{0,200}}@)?"
    at_port = rf"(?:['\"]?[\s,]{{0,3}}:?[\s(]{{0,3}}(?:port)?[\s=:]{{0,3}}\b{port}\b|%3a{port}\b)"
    path = rf"(?:{re.escape(url.path).replace('/', _SLASH)})?" if url.path else ""
    alone = rf"|{name}" if "." in host or ":" in host else ""
    found = rf"{scheme}{name}{at_port}?{path}|(?:{scheme})?(?:{name}|\b{_ANY_IP}){at_port}{path}{alone}"
    return re.compile(found, re.IGNORECASE)


def redacted(text: str, place: re.Pattern[str] | None = None, *, is_json: bool = False) -> str:
    """Return an error without what no caller may see. `place`: finds the provider's own address.

    `is_json`: whether the text is a JSON document, which it then stays.
    """
    text = (_PAGE_IN_JSON if is_json else _PAGE).sub(PAGE, text)
    if place is not None:
        text = place.sub(SOMEWHERE, text)
    text = _SECRETS.sub(_keeping_the_word, _KEYS.sub(HIDDEN, _ADDRESSES.sub(HIDDEN, text)))
    return _ACCOUNTS.sub(rf"\1{HIDDEN}", text)


def _keeping_the_word(found: re.Match[str]) -> str:
    return f"{found[1] or found[2] or found[3]}{HIDDEN}"
