// What is known about the user's servers and home, as one small value:
// {kind: "known", servers: Map(name -> server), reset: how the latest reset stands, or null, waiting: the operation that waits
// for its turn, {request_id, …}, or null, restartAnnounced: when an announced restart begins, or null}, where a server is
// {kind: "ready" | "stopped" | "unknown", …} or {kind: "pending", pending: what is under way, waitingFor: what delays a stop,
// or null, …}, with `url`, `restart` (how the latest restart stands, or null) and `lastActivity`; or
// {kind: "unknown" | "unreachable" | "signed-out"}.
//
// Always: a failed read is a state too, never an exception, so that a watcher can show it.
// Never: guesses; what the Hub does not say is "unknown", and nothing is offered then.

import { HubUnreachable, SessionEnded } from "./hub-api.js";
import { listInWords, phrase, words } from "./words.js";

/** The name of the server that has none. */
export const DEFAULT_SERVER = "";

/** Asks the Hub how things stand. */
export async function readState(hub) {
  try {
    const { servers, reset, waiting = null, restart_announced: restartAnnounced = null } = await hub.state();
    const entries = Object.entries(servers).map(([name, server]) => [name, fromServer(server)]);
    return { kind: "known", servers: new Map(entries), reset, waiting, restartAnnounced };
  } catch (error) {
    if (error instanceof SessionEnded) return { kind: "signed-out" };
    if (error instanceof HubUnreachable) return { kind: "unreachable" };
    return { kind: "unknown" };
  }
}

/** The state of one server in `state`; where that says nothing about servers, it stands for all of them. */
export function serverIn(state, name) {
  return state.kind === "known" ? (state.servers.get(name) ?? { kind: "stopped" }) : state;
}

/** Servers' names for people, the default server's too. */
export function namesOf(names) {
  return listInWords(names.map((name) => (name === DEFAULT_SERVER ? words.defaultServer : name)));
}

/** The names of the servers that are not stopped; the default one's is empty. */
export function notStopped(state) {
  return [...state.servers].filter(([, { kind }]) => kind !== "stopped").map(([name]) => name);
}

/** Whether a restart of a server that is not ready yet can wait for its start; one that waits already is not offered again. */
export function canWaitForStart({ kind, pending, restart }) {
  return kind === "pending" && pending === "spawn" && restart?.phase !== "queued";
}

/** The sentence for a pending server of the user whose page this is. */
export function pendingInWords({ pending, waitingFor }, name) {
  if (waitingFor) return phrase(words.stopWaits[waitingFor], { server: name === DEFAULT_SERVER ? words.yourServer : name });
  return words.pending[pending] ?? words.pending.other;
}

function fromServer({ pending, waiting_for: waitingFor, ready, stopped, url, restart, last_activity: lastActivity }) {
  const rest = { url, restart, lastActivity };
  if (pending) return { kind: "pending", pending, waitingFor, ...rest };
  if (ready) return { kind: "ready", ...rest };
  return { kind: stopped ? "stopped" : "unknown", ...rest };
}
