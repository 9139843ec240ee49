// Keeps JupyterHub's table of named servers true: a server that is made or deleted elsewhere has no row here, or one too many.
// A row made by us would be dead, because JupyterHub's script takes hold of the rows that it finds; so the page is loaded again.
//
// Always: not before the person is free: no dialog is open, and no name for a new server is being written.
// Never: loads again what that has not changed before (a server that JupyterHub does not show), nor a page without the table.

import { DEFAULT_SERVER } from "./server-state.js";

const NEW_NAME = ".home-server-row input.new-server-name";

/** Compares what the Hub lists with the rows that are there; `load()` brings the page anew. */
export class ServerRows {
  #load;
  #stays; // names that loading the page again does not change; undefined before the first look

  constructor(load = () => window.location.reload()) {
    this.#load = load;
  }

  /** Looks; `isFree`: whether nothing would be lost. */
  follow(state, isFree) {
    if (state.kind !== "known" || !document.querySelector(NEW_NAME)) return;
    const listed = spelled([...state.servers.keys()].filter((name) => name !== DEFAULT_SERVER));
    const shown = spelled(Array.from(serverRows(), (row) => row.dataset.serverName));
    if (this.#stays === undefined) this.#stays = wasLoadedAgain() ? listed : null;
    if (listed === shown) this.#stays = null;
    else if (listed !== this.#stays && isFree && !isWriting()) this.#load();
  }
}

/** The rows of named servers. */
export function serverRows() {
  return document.querySelectorAll("tr.home-server-row[data-server-name]");
}

function spelled(names) {
  return JSON.stringify(names.sort());
}

function wasLoadedAgain() {
  return performance.getEntriesByType("navigation")[0]?.type === "reload";
}

function isWriting() {
  const field = document.querySelector(NEW_NAME);
  return field === document.activeElement || field.value !== "";
}
