// The Hub's REST API as this page uses it: one method a request, and three kinds of failure that callers tell apart.
//
// Always: each path segment is encoded, the XSRF token goes along, and what is not an answer of the Hub itself (a proxy's
// error page, a broken connection) counts as "no answer", because the request may have been carried out all the same.
// Never: shows anything, retries anything, or reads more of an answer than its documented fields.

const READ_TIMEOUT_MILLISECONDS = 15_000;

/** The Hub answered, and the answer is no. */
export class HubRefusal extends Error {
  outcomeUnknown = false;

  constructor(status, body, retryAfterSeconds) {
    super(body.message);
    this.status = status;
    this.reason = body.reason ?? null;
    this.requestId = body.request_id ?? null;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** No answer from the Hub. */
export class HubUnreachable extends Error {
  outcomeUnknown = true;
}

/** The browser is no longer logged in as the user whose page this is. */
export class SessionEnded extends Error {
  constructor({ outcomeUnknown }) {
    super();
    this.outcomeUnknown = outcomeUnknown;
  }
}

/** The requests that a page of `user` makes. */
export class HubApi {
  #baseUrl;
  #user;
  #xsrfToken;

  constructor({ base_url: baseUrl, user, xsrf_token: xsrfToken }) {
    this.#baseUrl = baseUrl;
    this.#user = user;
    this.#xsrfToken = xsrfToken;
  }

  /** JupyterHub's own model of the user's servers, by name, stopped ones included; undefined if that may not be read. */
  async servers() {
    const model = await this.#read("?include_stopped_servers=1");
    return model.servers;
  }

  /** What a reset would meet: volume, exists, size_bytes, resettable, reason, message, holders. */
  homeVolume() {
    return this.#read("/home-volume");
  }

  /** Restarts the default server; `ready` in the answer says whether it answers already. */
  restartServer(requestId) {
    return this.#request("POST", this.#userPath("/restart-server"), { requestId });
  }

  /** Deletes the home volume. */
  resetHomeVolume(requestId) {
    return this.#request("DELETE", this.#userPath("/reset-home-volume"), { requestId });
  }

  #userPath(rest) {
    return `users/${encodeURIComponent(this.#user)}${rest}`;
  }

  #read(rest) {
    return this.#request("GET", this.#userPath(rest), { signal: AbortSignal.timeout(READ_TIMEOUT_MILLISECONDS) });
  }

  async #request(method, path, options) {
    const { status, body, retryAfterSeconds } = await this.#send(method, path, options);
    if (status < 400) return body;
    if ((status === 401 || status === 403) && !(await this.#stillLoggedIn())) throw new SessionEnded({ outcomeUnknown: false });
    throw new HubRefusal(status, body, retryAfterSeconds);
  }

  async #send(method, path, { requestId, signal } = {}) {
    const headers = { Accept: "application/json", "X-XSRFToken": this.#xsrfToken };
    if (requestId) headers["X-Request-ID"] = requestId;
    try {
      const response = await fetch(`${this.#baseUrl}api/${path}`, { method, headers, signal, cache: "no-store" });
      const retryAfterSeconds = Number(response.headers.get("Retry-After")) || null;
      return { status: response.status, body: await response.json(), retryAfterSeconds };
    } catch (error) {
      throw new HubUnreachable(error.message, { cause: error });
    }
  }

  // A 403 may mean "you may not" or "who are you?"; the Hub tells the two apart only by whether it still knows us.
  async #stillLoggedIn() {
    const { status, body } = await this.#send("GET", "user");
    return status < 400 && body.name === this.#user;
  }
}
