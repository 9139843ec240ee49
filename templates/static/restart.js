// Restarting a server: what the dialog says, the request, and waiting until the server answers.
//
// Always: leaves for the server only when the Hub says that it is ready, and only if the dialog is still open; somebody who
// closed it is doing something else on this page, and gets a link.

import { onceSent, Operation } from "./operation.js";
import { DEFAULT_SERVER, pendingInWords, serverIn } from "./server-state.js";
import { words } from "./words.js";

const text = words.restart;
// Longer than a following stream takes to be opened again: only who has lost it for good waits this long.
const ASK_AGAIN_MILLISECONDS = 5_000;

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
    send: (requestId, ended) => untilKnown(hub, name, requestId, ended),
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
  if (server.kind === "pending") return pendingInWords(server, name);
  return server.kind === "stopped" ? text.stoppedMeanwhile : null;
}

// The Hub's answer does not wait for a slow server for ever. Asked again under the same id, it says how the same restart
// stands; when that makes sense is what the progress tells.
async function untilKnown(hub, name, requestId, ended) {
  const ask = () => hub.restartServer(name, requestId);
  for (let answer = await ask(); ; answer = await onceSent(ask)) {
    if (answer.started_at) return answer;
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MILLISECONDS))]);
  }
}
