// Call the service's own API, with the reader's key if there is one.

const KEY = "semroute-key";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;
export const useKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

/**
 * Send a request, and return the JSON of the answer. Paths are relative, so that the page works behind a prefix.
 * Throws `ApiError` with the message of the service.
 */
export async function ask(method, path, body, signal) {
  const answer = await send(method, path, body, signal);
  return answer.json().catch(() => null);
}

/**
 * Start work that takes a while, and return its result. `progressed` gets `{doing, done, total}` again and again.
 * When `signal` is aborted, the service ends the work. Throws `ApiError` with the message of the service.
 */
export async function work(path, body, progressed, signal) {
  const answer = await send("POST", path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    if (done) throw new ApiError(0, signal.aborted ? "stopped" : "the answer of the service broke off");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const told = JSON.parse(line);
      if (told.error) throw new ApiError(0, told.error.message);
      if ("result" in told) return told.result;
      progressed(told.progress);
    }
  }
}

async function send(method, path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key !== null) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ApiError(0, signal?.aborted ? "stopped" : "the service does not answer");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new ApiError(response.status, answer?.error?.message ?? `status ${response.status}`);
  }
  return response;
}

/** Return a path with the parameters that have a value. */
export function query(path, parameters) {
  const said = Object.entries(parameters).filter(([, value]) => value !== "" && value != null);
  return said.length ? `${path}?${new URLSearchParams(said)}` : path;
}
