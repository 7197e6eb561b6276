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
export async function ask(method, path, body) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key !== null) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ApiError(0, "the service does not answer");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, answer?.error?.message ?? `status ${response.status}`);
  return answer;
}

/** Return a path with the parameters that have a value. */
export function query(path, parameters) {
  const said = Object.entries(parameters).filter(([, value]) => value !== "" && value != null);
  return said.length ? `${path}?${new URLSearchParams(said)}` : path;
}
