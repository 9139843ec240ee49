// Restarting a server: what the dialog says, the request, and waiting until the server answers.
//
// Always: leaves for the server only when the Hub says that it is ready, and only if the dialog is still open; somebody who
// closed it is doing something else on this page, and gets a link.

import { Operation, untilKnown } from "./operation.js";
import { canWaitForStart, DEFAULT_SERVER, pendingInWords, serverIn } from "./server-state.js";
import { words } from "./words.js";

const text = words.restart;

/** The restart of one server; `page` is what hubwarden.js knows about it. */
export function restartOperation({ hub, user, addresses, surfaces, changed, known }, name) {
  const operation = new Operation(surfaces, {
    hub,
    loginUrl: addresses.loginUrl,
    startUrl: addresses.startUrlOf(name),
    changed,
    failedSentence: text.failed,
    phases: text.phases,
    progressPath: hub.restartPath(name),
    facts: () => factsAbout(user, name),
    obstacle: () => obstacle(known, name),
    progress: () => text.progress,
    send: (requestId) =>
      untilKnown({
        hub,
        requestId,
        ask: () => hub.restartServer(name, requestId),
        isFinal: (answer) => Boolean(answer.started_at),
        partOf: ({ servers }) => servers[name]?.restart,
      }),
    succeeded: ({ url, ready }, report) => {
      if (!ready || !operation.isShown) return endNotice(url, ready);
      report({ sentence: text.leaving, phase: "done", progress: 100 });
      window.location.assign(url);
      return null;
    },
    endedUnanswered: ({ ready }) => endNotice(serverIn(known.state, name).url, ready),
  });
  return operation;
}

/** What to say at the end of a restart that nobody watches in the dialog; `ready`: whether the server answers. */
export function endNotice(url, ready) {
  if (!ready) return silentNotice(url);
  return { kind: "success", sentences: [text.done], actions: [{ label: words.openServer, href: url }] };
}

function silentNotice(url) {
  return { kind: "failure", sentences: [text.silent, text.silentNext], actions: [{ label: words.openServer, href: url }] };
}

function factsAbout(user, name) {
  const facts = [[words.facts.user, user]];
  if (name !== DEFAULT_SERVER) facts.push([words.facts.server, name]);
  return facts;
}

function obstacle({ state, reachable }, name) {
  if (!reachable) return words.offline;
  const server = serverIn(state, name);
  if (canWaitForStart(server)) return null;
  if (server.kind === "pending") return pendingInWords(server, name);
  return server.kind === "stopped" ? text.stoppedMeanwhile : null;
}
