// The script of the page "Servers and homes": puts the parts together and nothing more.
//
// Always: what is listed and what may be done is what the Hub said; one listing at a time, again every three seconds while
// the page is looked at.
// Never: runs on a page without our section.

import { failureNotice, signedOutNotice, LOGIN } from "./failure.js";
import { HistoryView } from "./history-view.js";
import { HomesInView } from "./homes-in-view.js";
import { HubApi, HubRefusal, HubUnreachable, SessionEnded } from "./hub-api.js";
import { ListQuery } from "./list-query.js";
import { ManyPanel } from "./many-panel.js";
import { Notice } from "./notice.js";
import { OperationDialog } from "./operation-dialog.js";
import { nameInWords, resetOfOther, restartOfOther, restartUntilReady } from "./others-operations.js";
import { newRequestId } from "./request-id.js";
import { keyOf } from "./restart-many.js";
import { DEFAULT_SERVER } from "./server-state.js";
import { ServerWatch } from "./server-watch.js";
import { restartable, UserList } from "./user-list.js";
import { write } from "./element.js";
import { phrase, words } from "./words.js";

const INTERVAL_MILLISECONDS = 3_000;
const BUSY_MILLISECONDS = 1_000;
const MATCHING_LIMIT = 200;
const text = words.others;

function start(root) {
  const jhdata = window.jhdata;
  for (const part of root.querySelectorAll("[data-word]")) part.textContent = text.text[part.dataset.word];
  const part = (name) => document.getElementById(`hubwarden-${name}`);
  const parts = (names) => Object.fromEntries(Object.entries(names).map(([key, name]) => [key, part(name)]));

  const hub = new HubApi(jhdata);
  const hubOf = remembered((user) => new HubApi(jhdata, user));
  const loginUrl = `${jhdata.base_url}servers-and-homes`;
  const notice = new Notice(part("notice"));
  const dialog = (name, about) => new OperationDialog(part(`${name}-dialog`), about, notice);
  const surfaces = {
    restart: { notice, dialog: dialog("restart", text.restart) },
    reset: { notice, dialog: dialog("reset", text.reset) },
  };
  const page = { hubOf, loginUrl, surfaces, changed, startUrlOf };
  const restartOf = remembered((key) => restartOfOther(page, ...JSON.parse(key)));
  const resetOf = remembered((user) => resetOfOther(page, user, () => homes.of(user)));

  const homes = new HomesInView(hubOf, () => list.render());
  const history = new HistoryView(
    hub,
    parts({ form: "history-form", rows: "history-rows", table: "history-table", status: "history-status", older: "older", title: "history-title" }),
    "everybodysHistory" in root.dataset,
  );
  const many = new ManyPanel(
    parts({ panel: "many", sentence: "many-sentence", bar: "many-bar", stop: "many-stop", again: "many-again", close: "many-close", failures: "many-failures" }),
    dialog("restart-many", text.many),
    ({ user, server }, requestId) => restartUntilReady(hubOf(user), server, requestId),
    { began: () => (notice.clear(), list.clearSelection()), changed, closed: () => part("select-matching").focus() },
  );
  const list = new UserList(
    parts({ rows: "rows", count: "count", page: "page", previous: "previous", next: "next" }),
    {
      restart: (user, server) => restartOf(keyOf({ user, server })).ask(),
      forget,
      reset: (user) => resetOf(user).ask(),
      history: (user) => (notice.clear(), history.showOf(user)),
      manyOf: (key) => many.of(key),
      busyWith,
      selectionChanged: showSelection,
    },
    homes,
  );
  const query = new ListQuery(part("query"), () => watch.refresh());
  const watch = new ServerWatch(() => readListing(hub, query.current), () => (many.running ? BUSY_MILLISECONDS : INTERVAL_MILLISECONDS));

  function busyWith(user) {
    const restarts = [...restartOf.all()].filter(([key]) => JSON.parse(key)[0] === user).map(([, restart]) => restart);
    return [...restarts, resetOf.known(user)].some((operation) => operation?.running);
  }

  function startUrlOf(user, server) {
    const url = `${jhdata.base_url}spawn/${encodeURIComponent(user)}`;
    return server === DEFAULT_SERVER ? url : `${url}/${encodeURIComponent(server)}`;
  }

  function changed() {
    list.render();
    showSelection();
    if (many.running) return;
    watch.refresh();
    history.refresh();
  }

  function learn(listing) {
    write(part("trouble"), listing.kind === "unknown" ? listing.message : listing.kind === "unreachable" ? words.offline : "");
    if (listing.kind === "signed-out" && notice.topic !== LOGIN) notice.show(signedOutNotice({ loginUrl }));
    if (listing.kind !== "known") return;
    list.show(listing);
    for (const row of listing.users) tellUnanswered(row);
    query.keepWithin(listing.total);
  }

  function tellUnanswered({ name, servers, reset }) {
    for (const [server, { restart }] of Object.entries(servers)) restartOf.known(keyOf({ user: name, server }))?.learn(restart);
    resetOf.known(name)?.learn(reset);
  }

  function showSelection() {
    const count = list.selected.size;
    part("restart-selected").textContent = phrase(text.restartSelected, { count });
    part("restart-selected").disabled = count === 0 || many.running;
    part("clear-selection").classList.toggle("hidden", count === 0);
    list.render();
  }

  async function forget(user, server) {
    if (!window.confirm(phrase(text.forget.warning, { user, server: nameInWords(server) }))) return;
    const requestId = newRequestId();
    try {
      const { container } = await hubOf(user).forgetServer(server, requestId);
      notice.show({ kind: "success", sentences: [phrase(text.forget.done, { user, container })] });
    } catch (error) {
      const failedSentence = phrase(text.forget.failed, { user });
      notice.show(failureNotice(error, { failedSentence, loginUrl, requestId, retry: () => forget(user, server) }));
    }
    changed();
  }

  async function selectMatching() {
    const select = part("select-matching");
    select.disabled = true;
    select.textContent = text.selecting;
    try {
      list.selectAll(await matching(hubOf(jhdata.user), query.filter));
    } catch (error) {
      notice.show(failureNotice(error, { failedSentence: text.listFailed, loginUrl, requestId: error.requestId ?? "", retry: selectMatching }));
    } finally {
      select.disabled = false;
      select.textContent = text.selectMatching;
    }
  }

  part("previous").addEventListener("click", () => query.turn(-1));
  part("next").addEventListener("click", () => query.turn(1));
  part("select-matching").textContent = text.selectMatching;
  part("select-matching").addEventListener("click", selectMatching);
  part("clear-selection").addEventListener("click", () => list.clearSelection());
  part("restart-selected").addEventListener("click", () => many.ask([...list.selected.values()]));
  showSelection();
  document.title = `${text.text.title} – ${document.title}`;
  root.classList.remove("hidden");
  watch.listen(learn);
  watch.start();
  history.show();
}

async function readListing(hub, query) {
  try {
    return { kind: "known", ...(await hub.users(query)) };
  } catch (error) {
    if (error instanceof SessionEnded) return { kind: "signed-out" };
    if (error instanceof HubUnreachable) return { kind: "unreachable" };
    return { kind: "unknown", message: error instanceof HubRefusal ? error.message : text.listFailed };
  }
}

/** Every server that runs, of the users that a filter fits. */
async function matching(hub, filter) {
  if (filter.state === "stopped") return [];
  const targets = [];
  for (let offset = 0; ; offset += MATCHING_LIMIT) {
    const { users, total } = await hub.users({ ...filter, sort: "name", state: "running", offset, limit: MATCHING_LIMIT });
    targets.push(...restartable(users));
    if (offset + users.length >= total || users.length === 0) return targets;
  }
}

function remembered(make) {
  const made = new Map();
  const get = (key) => made.get(key) ?? made.set(key, make(key)).get(key);
  get.all = () => made.entries();
  get.known = (key) => made.get(key);
  return get;
}

const root = document.getElementById("hubwarden-others");
if (root) start(root);
