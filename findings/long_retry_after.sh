#!/usr/bin/env bash
# Two libraries do opposite things after a 429 with a long Retry-After.
#
# openai 3.57.0 gives up at once if `retry-after` is above 120 seconds. It makes one call and raises RateLimitError, although
# it has retries left. anthropic 2.14.0 is generated from the same templates, but waits, however long it is. If a gateway
# passes on a provider's `retry-after: 200`, the request of one caller ends, and that of the other waits for minutes.
#
# Seen:
#   openai 3.57.0: retry-after 1: 3 calls, RateLimitError
#   openai 3.57.0: retry-after 200: 1 call, RateLimitError
#   anthropic 2.14.0: retry-after 200: 1 call, still waiting
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 anthropic==2.14.0
cat > "$folder/ask.py" <<'PYTHON'
import http.server
import sys
import threading

import anthropic
import openai


class Limited(http.server.BaseHTTPRequestHandler):
    asked = threading.Semaphore(0)
    calls = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}'
        self.send_response(429)
        self.send_header("retry-after", after)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        Limited.calls += 1
        Limited.asked.release()

    def log_message(self, *_: object) -> None:
        pass


def ask() -> None:
    turn = [{"role": "user", "content": "hi"}]
    try:
        if library == "openai":
            openai.OpenAI(base_url=url, api_key="k").chat.completions.create(model="m", messages=turn)
        else:
            anthropic.Anthropic(base_url=url, api_key="k").messages.create(model="m", max_tokens=9, messages=turn)
    except (openai.APIError, anthropic.APIError) as error:
        raised.append(type(error).__name__)


library, after = sys.argv[1:]
raised: list[str] = []
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Limited)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
asking = threading.Thread(target=ask, daemon=True)
asking.start()
Limited.asked.acquire()
asking.join(20)
version = (openai if library == "openai" else anthropic).__version__
calls = f"{Limited.calls} call{'s' if Limited.calls > 1 else ''}"
print(f"{library} {version}: retry-after {after}: {calls}, {raised[0] if raised else 'still waiting'}")
PYTHON
seen=$(for of in "openai 1" "openai 200" "anthropic 200"; do "$folder/env/bin/python" "$folder/ask.py" $of; done)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
openai 3.57.0: retry-after 1: 3 calls, RateLimitError
openai 3.57.0: retry-after 200: 1 call, RateLimitError
anthropic 2.14.0: retry-after 200: 1 call, still waiting
SEEN
