// The Hub's REST API as this page uses it: one method a request, and three kinds of failure that callers tell apart.
//
// Always: each path segment is encoded, the XSRF token goes along, and what is not an answer of the Hub itself (a proxy's
// error page, a broken connection) counts as "no answer", because the request may have been carried out all the same.
// Never: shows anything, retries anything, or reads more of an answer than its documented fields.

const READ_TIMEOUT_MILLISECONDS = 15_000;
const FOLLOW_FIRST_MILLISECONDS = 100;
const FOLLOW_AGAIN_MILLISECONDS = 300;
const FOLLOW_SELDOM_MILLISECONDS = 5_000;

/** The Hub answered, and the answer is no; or, with one reason, that it does not know either. */
export class HubRefusal extends Error {
  constructor(status, body, retryAfterSeconds) {
    super(body.message);
    this.status = status;
    this.reason = body.reason ?? null;
    this.outcomeUnknown = this.reason === "DEADLINE_EXCEEDED";
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

/** The requests that a page of `user` makes about `whose` servers and home: their own, unless another is given. */
export class HubApi {
  #baseUrl;
  #user;
  #whose;
  #xsrfToken;
  #latest = { path: null, etag: null, body: null };
  /** Milliseconds after which the Hub wants to be asked again, if it said so: many pages are open. */
  askAgainMilliseconds = 0;

  constructor({ base_url: baseUrl, user, xsrf_token: xsrfToken }, whose = user) {
    this.#baseUrl = baseUrl;
    this.#user = user;
    this.#whose = whose;
    this.#xsrfToken = xsrfToken;
  }

  /** How the user's servers and home stand, `{servers, reset}`, from the Hub's memory; an unchanged answer is empty. */
  state() {
    return this.#readIfChanged(this.#userPath("/hubwarden-state"));
  }

  /** A page of users: total, offset, limit, history_readable, users; an unchanged answer is empty. */
  users(query) {
    return this.#readIfChanged(`hubwarden/users?${new URLSearchParams(query)}`);
  }

  /** The newest entries of the history that fit; of one user, or of everybody with null. */
  async history(username, query) {
    const path = username === null ? "hubwarden/history" : `users/${encodeURIComponent(username)}/hubwarden-history`;
    const signal = AbortSignal.timeout(READ_TIMEOUT_MILLISECONDS);
    return (await this.#request("GET", `${path}?${new URLSearchParams(query)}`, { signal })).body.entries;
  }

  /** What a reset would meet: volume, exists, size_bytes, resettable, reason, message, holders. */
  homeVolume() {
    return this.#read("/home-volume");
  }

  /** The path of one server's restart, below the user's. */
  restartPath(serverName) {
    return serverName ? `/servers/${encodeURIComponent(serverName)}/restart-server` : "/restart-server";
  }

  /** Restarts a server; `ready` in the answer says whether it answers already. */
  restartServer(serverName, requestId) {
    return this.#act("POST", this.restartPath(serverName), requestId);
  }

  /** Stops a server, as JupyterHub's own button does. */
  stopServer(serverName) {
    return this.#act("DELETE", serverName ? `/servers/${encodeURIComponent(serverName)}` : "/server");
  }

  /** Has the Hub forget a server whose stop waits. */
  forgetServer(serverName, requestId) {
    return this.#act("POST", `${serverName ? `/servers/${encodeURIComponent(serverName)}` : ""}/forget-server`, requestId);
  }

  /** Cancels an operation that waits for its turn; `operationId` is the id of its request. */
  cancelWaiting(operationId) {
    return this.#act("DELETE", `/waiting-operations/${operationId}`);
  }

  /** Deletes the home volume. */
  resetHomeVolume(requestId) {
    return this.#act("DELETE", "/reset-home-volume", requestId);
  }

  /**
   * Calls `told` with every event of an operation's progress; returns the function that ends this. A stream that has ended
   * told of an earlier operation, or there was none yet: it is opened again, less and less often while `told` does not
   * return true, which says that an event was of the operation that is waited for.
   */
  follow(operationPath, told) {
    let source = null;
    let timer = null;
    let pause = FOLLOW_AGAIN_MILLISECONDS;
    const again = () => {
      source.close();
      timer = setTimeout(open, pause);
      pause = Math.min(2 * pause, FOLLOW_SELDOM_MILLISECONDS);
    };
    const open = () => {
      const query = new URLSearchParams({ _xsrf: this.#xsrfToken });
      source = new EventSource(`${this.#baseUrl}api/${this.#userPath(operationPath)}/progress?${query}`);
      source.addEventListener("message", ({ data }) => {
        if (told(JSON.parse(data))) pause = FOLLOW_AGAIN_MILLISECONDS;
      });
      source.addEventListener("error", again);
    };
    timer = setTimeout(open, FOLLOW_FIRST_MILLISECONDS);
    return () => {
      clearTimeout(timer);
      source?.close();
    };
  }

  #userPath(rest) {
    return `users/${encodeURIComponent(this.#whose)}${rest}`;
  }

  async #readIfChanged(path) {
    const known = this.#latest.path === path ? this.#latest : { etag: null };
    const options = { signal: AbortSignal.timeout(READ_TIMEOUT_MILLISECONDS), etag: known.etag };
    const { status, body, etag, retryAfterSeconds } = await this.#request("GET", path, options);
    this.askAgainMilliseconds = (retryAfterSeconds ?? 0) * 1000;
    if (status === 304) return known.body;
    this.#latest = { path, etag, body };
    return body;
  }

  async #read(rest) {
    const signal = AbortSignal.timeout(READ_TIMEOUT_MILLISECONDS);
    return (await this.#request("GET", this.#userPath(rest), { signal })).body;
  }

  async #act(method, rest, requestId) {
    return (await this.#request(method, this.#userPath(rest), { requestId })).body;
  }

  async #request(method, path, options) {
    const answer = await this.#send(method, path, options);
    const { status, body, retryAfterSeconds } = answer;
    if (status < 400) return answer;
    if ((status === 401 || status === 403) && !(await this.#stillLoggedIn())) throw new SessionEnded({ outcomeUnknown: false });
    throw new HubRefusal(status, body, retryAfterSeconds);
  }

  async #send(method, path, { requestId, signal, etag } = {}) {
    const headers = { Accept: "application/json", "X-XSRFToken": this.#xsrfToken };
    if (requestId) headers["X-Request-ID"] = requestId;
    if (etag) headers["If-None-Match"] = etag;
    try {
      const response = await fetch(`${this.#baseUrl}api/${path}`, { method, headers, signal, cache: "no-store" });
      const retryAfterSeconds = Number(response.headers.get("Retry-After")) || null;
      const text = await response.text();
      const body = text ? JSON.parse(text) : {};
      return { status: response.status, body, retryAfterSeconds, etag: response.headers.get("ETag") };
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
