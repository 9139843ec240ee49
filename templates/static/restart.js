// Restarting a server: what the dialog says, the request, and waiting until the server answers.
//
// Always: leaves for the server only when the Hub says that it is ready, and only if the dialog is still open; somebody who
// closed it is doing something else on this page, and gets a link.

import { HubRefusal, SessionEnded } from "./hub-api.js";
import { Operation } from "./operation.js";
import { DEFAULT_SERVER, serverIn } from "./server-state.js";
import { words } from "./words.js";

const text = words.restart;

/** The restart of one server; `page` is what hubwarden.js knows about it. */
export function restartOperation({ hub, watch, user, addresses, surfaces, changed }, name) {
  const operation = new Operation(surfaces, {
    hub,
    loginUrl: addresses.loginUrl,
    startUrl: addresses.startUrlOf(name),
    changed,
    failedSentence: text.failed,
    phases: text.phases,
    progressPath: hub.restartPath(name),
    facts: () => factsAbout(user, name),
    progress: () => text.progress,
    send: async (requestId, report) => {
      const answer = await hub.restartServer(name, requestId);
      if (!answer.ready) {
        report({ sentence: text.phases.answering });
        await untilReady(watch, name, requestId);
      }
      return answer;
    },
    succeeded: ({ url }, report) => {
      if (!operation.isShown) return doneNotice(url);
      report({ sentence: text.leaving, phase: "done", progress: 100 });
      window.location.assign(url);
      return null;
    },
  });
  return operation;
}

/** What to say at the end of a restart that nobody watches in the dialog. */
export function doneNotice(url) {
  return { kind: "success", sentences: [text.done], actions: [{ label: words.openServer, href: url }] };
}

function factsAbout(user, name) {
  const facts = [[words.facts.user, user]];
  if (name !== DEFAULT_SERVER) facts.push([words.facts.server, name]);
  return facts;
}

function untilReady(watch, name, requestId) {
  return new Promise((resolve, reject) => {
    const stopListening = watch.listen((state) => {
      const settle = settlementOf(serverIn(state, name), requestId);
      if (!settle) return;
      stopListening();
      settle(resolve, reject);
    });
    watch.refresh();
  });
}

// Pending and unreachable say nothing yet: the wait goes on.
function settlementOf({ kind }, requestId) {
  switch (kind) {
    case "ready":
      return (resolve) => resolve();
    case "stopped":
      return (_, reject) => reject(cameBackStopped(requestId));
    case "signed-out":
      return (_, reject) => reject(new SessionEnded({ outcomeUnknown: true }));
    default:
      return null;
  }
}

function cameBackStopped(requestId) {
  const body = { message: text.cameBackStopped, reason: "RESTART_FAILED", request_id: requestId };
  return new HubRefusal(500, body, null);
}
