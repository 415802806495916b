// Requests to the service that the page came from, with a key where it asks for one.

// Kept nowhere else: a page that is closed has forgotten it.
let key = "";

export function useKey(given) {
  key = given;
}

/** What the service has against a request. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Sends a request; raises `Refusal` where the answer is a problem. */
export async function ask(path, { headers = {}, ...options } = {}) {
  const credentials = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch(path, { ...options, headers: { ...headers, ...credentials } });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refusal(answer.status, problem.detail ?? `The service answered ${answer.status}.`);
}

/** Opens a WebSocket; `query` is its query's parameters, those undefined left out. */
export function connect(path, query) {
  const url = new URL(path, document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  // The one header of a WebSocket that pages may set.
  return new WebSocket(url, key ? ["lmserve", `lmserve.key.${key}`] : []);
}
