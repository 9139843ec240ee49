// What is known about the user's default server, as one small value:
// {kind: "ready" | "stopped" | "unknown" | "unreachable" | "signed-out"} or {kind: "pending", pending: what is under way}.
//
// Always: a failed read is a state too, never an exception, so that whoever watches can show it.
// Never: guesses; what the Hub does not say is "unknown", and nothing is offered then.

import { HubUnreachable, SessionEnded } from "./hub-api.js";

const DEFAULT_SERVER = "";

/** Asks the Hub how the default server stands. */
export async function readServerState(hub) {
  try {
    return fromServers(await hub.servers());
  } catch (error) {
    if (error instanceof SessionEnded) return { kind: "signed-out" };
    if (error instanceof HubUnreachable) return { kind: "unreachable" };
    return { kind: "unknown" };
  }
}

function fromServers(servers) {
  if (!servers) return { kind: "unknown" };
  const server = servers[DEFAULT_SERVER];
  if (!server) return { kind: "stopped" }; // one that never ran has no entry
  if (server.pending) return { kind: "pending", pending: server.pending };
  if (server.ready) return { kind: "ready" };
  return { kind: server.stopped ? "stopped" : "unknown" };
}
