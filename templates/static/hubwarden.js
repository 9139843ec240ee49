// The home page's script: puts the parts together and nothing more.
//
// Always: what is shown follows from what is known (offer.js), again after every change.
// Never: runs on a page without our section, and never touches JupyterHub's own buttons.

import { LOGIN, signedOutNotice } from "./failure.js";
import { HomeVolume } from "./home-volume.js";
import { HubApi } from "./hub-api.js";
import { Notice } from "./notice.js";
import { offer } from "./offer.js";
import { OperationDialog } from "./operation-dialog.js";
import { resetOperation } from "./reset.js";
import { restartOperation } from "./restart.js";
import { readServerState } from "./server-state.js";
import { ServerWatch } from "./server-watch.js";
import { words } from "./words.js";

function start(root) {
  const jhdata = window.jhdata;
  const element = (name) => document.getElementById(`hubwarden-${name}`);
  const buttons = { restart: element("restart"), reset: element("reset") };
  const hub = new HubApi(jhdata);
  const notice = new Notice(element("notice"));
  const known = { server: { kind: "unknown" }, reachable: true, mayRestart: "mayRestart" in root.dataset };

  const watch = new ServerWatch(() => readServerState(hub));
  const home = new HomeVolume(hub, render);
  const page = { hub, watch, home, user: jhdata.user, addresses: addressesOf(jhdata) };
  const operations = {
    restart: restartOperation({ ...page, changed, surfaces: surfaces("restart") }),
    reset: resetOperation({ ...page, changed, surfaces: surfaces("reset") }),
  };

  function surfaces(name) {
    return { notice, dialog: new OperationDialog(element(`${name}-dialog`), words[name], notice) };
  }

  function learn(server) {
    known.reachable = server.kind !== "unreachable";
    if (known.reachable) known.server = server;
    if (server.kind === "signed-out" && !busy() && notice.topic !== LOGIN) notice.show(signedOutNotice(page.addresses));
    if ("mayReset" in root.dataset) home.follow(server);
    render();
  }

  function changed() {
    render();
    if (!busy()) watch.refresh();
  }

  function busy() {
    return Object.values(operations).some((operation) => operation.running);
  }

  function render() {
    const shown = offer({ ...known, home: home.current, busy: busy() });
    for (const [name, button] of Object.entries(buttons)) {
      button.classList.toggle("hidden", shown[name] === "hidden");
      button.disabled = shown[name] !== "enabled";
    }
    const hint = element("hint");
    if (hint.textContent !== shown.hint) hint.textContent = shown.hint; // a live region speaks at every write
  }

  for (const [name, button] of Object.entries(buttons)) {
    button.textContent = words[name].button;
    button.addEventListener("click", () => operations[name].ask());
  }
  placeBesideJupyterHubsOwn(element("buttons"), element("messages"));
  root.classList.remove("hidden");
  watch.listen(learn);
  watch.start();
}

function addressesOf({ base_url: baseUrl, user }) {
  // The Hub sends whoever is not logged in from its home page to its own way of logging in, and back.
  return { loginUrl: `${baseUrl}home`, startUrl: `${baseUrl}spawn/${encodeURIComponent(user)}` };
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
