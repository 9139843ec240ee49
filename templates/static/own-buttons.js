// Keeps JupyterHub's own Start and Stop true: it draws them once, and a server that starts or ends elsewhere leaves them
// behind.
//
// Always: only where JupyterHub's markup is as it ships; an operator's own template is left alone.
// Never: touches them while anything is pending: JupyterHub's own script is at work then.

import { serverRows } from "./server-rows.js";
import { DEFAULT_SERVER, serverIn } from "./server-state.js";
import { words } from "./words.js";

/** Makes JupyterHub's buttons show `state`. */
export function showOwnButtons(state, { hub, startUrl, changed }) {
  if (state.kind !== "known") return;
  const start = document.getElementById("start");
  const server = serverIn(state, DEFAULT_SERVER);
  if (start && isSettled(server)) showDefault(start, server, { hub, startUrl, changed });
  for (const row of serverRows()) {
    const named = serverIn(state, row.dataset.serverName);
    if (isSettled(named)) showRow(row, named.kind === "ready");
  }
}

function isSettled({ kind }) {
  return kind === "ready" || kind === "stopped";
}

function showDefault(start, server, { hub, startUrl, changed }) {
  const runs = server.kind === "ready";
  const stop = document.getElementById("stop") ?? (runs ? stopButtonBefore(start, hub, changed) : null);
  if (stop) stop.style.display = runs ? "" : "none";
  const label = runs ? words.own.open : words.own.start;
  if (start.textContent.replace(/\s+/g, " ").trim() === label) return;
  start.textContent = label;
  start.href = runs ? server.url : startUrl;
  start.removeAttribute("disabled");
  start.removeAttribute("title");
}

// JupyterHub leaves Stop out of the page of a stopped server, and its script looks for it only once.
function stopButtonBefore(start, hub, changed) {
  const stop = document.createElement("a");
  stop.id = "stop";
  stop.className = "btn btn-lg btn-danger";
  stop.setAttribute("role", "button");
  stop.href = "#";
  stop.textContent = words.own.stop;
  stop.addEventListener("click", async (event) => {
    event.preventDefault();
    await hub.stopServer(DEFAULT_SERVER).catch(() => {}); // the state that is read next says how it stands
    changed();
  });
  start.before(stop, " ");
  return stop;
}

function showRow(row, runs) {
  const hide = (selector, hidden) => row.querySelector(selector)?.classList.toggle("hidden", hidden);
  hide(".start-server", runs);
  hide(".delete-server", runs);
  hide(".stop-server", !runs);
  hide(".server-link", !runs);
}
