// The home page's script: puts the parts together and nothing more.
//
// Always: what is shown follows from what is known (offer.js), again after every change.
// Never: runs on a page without our section.

import { Elsewhere } from "./elsewhere.js";
import { LOGIN, signedOutNotice } from "./failure.js";
import { HomeVolume } from "./home-volume.js";
import { HubApi } from "./hub-api.js";
import { Notice } from "./notice.js";
import { offer, offerNamed } from "./offer.js";
import { OperationDialog } from "./operation-dialog.js";
import { showOwnButtons } from "./own-buttons.js";
import { resetOperation } from "./reset.js";
import { restartOperation } from "./restart.js";
import { ServerRows, serverRows } from "./server-rows.js";
import { DEFAULT_SERVER, readState, serverIn } from "./server-state.js";
import { INTERVAL_MILLISECONDS, ServerWatch } from "./server-watch.js";
import { phrase, words } from "./words.js";

function start(root) {
  const jhdata = window.jhdata;
  const element = (name) => document.getElementById(`hubwarden-${name}`);
  const buttons = { restart: element("restart"), reset: element("reset") };
  const hub = new HubApi(jhdata);
  const notice = new Notice(element("notice"));
  const known = { state: { kind: "unknown" }, reachable: true, mayRestart: "mayRestart" in root.dataset };
  const addresses = addressesOf(jhdata);

  const watch = new ServerWatch(() => readState(hub), () => Math.max(INTERVAL_MILLISECONDS, hub.askAgainMilliseconds));
  const home = new HomeVolume(hub, render);
  const rows = new ServerRows();
  const page = { hub, home, addresses, changed, known, user: jhdata.user };
  const surfacesOf = (name) => ({ notice, dialog: new OperationDialog(element(`${name}-dialog`), words[name], notice) });
  const restartSurfaces = surfacesOf("restart");
  const restarts = new Map(); // by server name, made when first needed
  const typeName = "typeName" in root.dataset;
  const reset = resetOperation({ ...page, typeName, lastUsed, surfaces: surfacesOf("reset") });
  const elsewhere = new Elsewhere(notice, addresses.startUrlOf, (kind, name) => (kind === "reset" ? reset : restarts.get(name)));

  function restartOf(name) {
    if (!restarts.has(name)) restarts.set(name, restartOperation({ ...page, surfaces: restartSurfaces }, name));
    return restarts.get(name);
  }

  function lastUsed() {
    const moments = [...known.state.servers.values()].map(({ lastActivity }) => lastActivity).filter(Boolean);
    return moments.sort().at(-1) ?? null;
  }

  function learn(state) {
    known.reachable = state.kind !== "unreachable";
    if (known.reachable) known.state = state;
    if (state.kind === "signed-out" && !busy() && notice.topic !== LOGIN) notice.show(signedOutNotice(addresses));
    if ("mayReset" in root.dataset) home.follow(serverIn(state, DEFAULT_SERVER));
    elsewhere.follow(state);
    for (const [name, restart] of restarts) restart.learn(serverIn(state, name).restart);
    reset.learn(state.reset);
    for (const operation of operations()) operation.offerToCancel(state.waiting);
    render();
    rows.follow(state, isFree());
  }

  function changed() {
    render();
    if (!busy()) watch.refresh();
  }

  function busy() {
    return operations().some((operation) => operation.running);
  }

  function isFree() {
    return !busy() && notice.isEmpty && !root.querySelector("dialog[open]");
  }

  function operations() {
    return [reset, ...restarts.values()];
  }

  function render() {
    const now = { ...known, home: home.current, busy: busy() };
    const shown = offer(now);
    show(buttons.restart, shown.restart);
    show(buttons.reset, shown.reset);
    for (const [name, button] of namedButtons) show(button, offerNamed(now, name));
    const hint = element("hint");
    if (hint.textContent !== shown.hint) hint.textContent = shown.hint; // a live region speaks at every write
    for (const operation of operations()) operation.reconsider();
    if (!now.busy) showOwnButtons(known.state, { hub, startUrl: addresses.startUrlOf(DEFAULT_SERVER), changed });
  }

  buttons.restart.textContent = words.restart.button;
  buttons.restart.addEventListener("click", () => restartOf(DEFAULT_SERVER).ask());
  buttons.reset.textContent = words.reset.button;
  buttons.reset.addEventListener("click", () => reset.ask());
  const namedButtons = addToRows((name) => restartOf(name).ask());
  placeBesideJupyterHubsOwn(element("buttons"), element("messages"));
  root.classList.remove("hidden");
  watch.listen(learn);
  watch.start();
}

function show(button, how) {
  button.classList.toggle("hidden", how === "hidden");
  button.disabled = how !== "enabled";
}

// JupyterHub's script takes its own kind of handlers off everything in a row while it works there; not this kind.
function addToRows(ask) {
  return Array.from(serverRows(), (row) => {
    const name = row.dataset.serverName;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-xs btn-default btn-secondary hubwarden-restart-named hidden";
    button.textContent = words.named.button;
    button.title = words.restart.about;
    button.setAttribute("aria-label", phrase(words.named.label, { server: name }));
    button.addEventListener("click", () => ask(name));
    row.lastElementChild.append(" ", button);
    return [name, button];
  });
}

function addressesOf({ base_url: baseUrl, user }) {
  // The Hub sends people who are not logged in from its home page to its own way of logging in, and back.
  const spawnUrl = `${baseUrl}spawn/${encodeURIComponent(user)}`;
  const startUrlOf = (name) => (name === DEFAULT_SERVER ? spawnUrl : `${spawnUrl}/${encodeURIComponent(name)}`);
  return { loginUrl: `${baseUrl}home`, startUrlOf };
}

function placeBesideJupyterHubsOwn(buttons, messages) {
  const own = document.getElementById("start");
  if (!own) return; // an operator's own template: the buttons stay below it
  own.parentElement.append(buttons, messages);
}

// A page that the browser brings back from memory shows a moment that is over.
window.addEventListener("pageshow", ({ persisted }) => persisted && window.location.reload());

const root = document.getElementById("hubwarden");
if (root) start(root);
