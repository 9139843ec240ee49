// Restarting the default server: what the dialog says, the request, and waiting until the server answers.
//
// Always: leaves for the server only when the Hub says that it is ready, and only if the dialog is still open; somebody who
// closed it is doing something else on this page, and gets a link.

import { HubRefusal, SessionEnded } from "./hub-api.js";
import { Operation } from "./operation.js";
import { words } from "./words.js";

const text = words.restart;

/** The restart operation on a page; `page` is what hubwarden.js knows about it. */
export function restartOperation({ hub, watch, user, addresses, surfaces, changed }) {
  return new Operation(surfaces, {
    ...addresses,
    changed,
    failedSentence: text.failed,
    facts: () => [[words.facts.user, user]],
    progress: () => text.progress,
    send: async (requestId, report) => {
      const answer = await hub.restartServer(requestId);
      if (!answer.ready) {
        report(text.waiting);
        await untilReady(watch, requestId);
      }
      return answer;
    },
    succeeded: ({ url }, report) => {
      if (!surfaces.dialog.isOpen) return doneNotice(url);
      report(text.leaving);
      window.location.assign(url);
      return null;
    },
  });
}

function doneNotice(url) {
  return { kind: "success", sentences: [text.done], actions: [{ label: words.openServer, href: url }] };
}

function untilReady(watch, requestId) {
  return new Promise((resolve, reject) => {
    const stopListening = watch.listen((server) => {
      const settle = settlementOf(server, requestId);
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
