// Restart and reset of another's server and home: what the dialogs say, the requests, and the message at the end.
//
// Always: names whose it is; a reset always asks for the name to be typed; the page stays where it is.
// Never: claims a restart before the Hub says that the server is ready.

import { HubRefusal } from "./hub-api.js";
import { onceSent, Operation } from "./operation.js";
import { backupNote, resetUntilDone } from "./reset.js";
import { DEFAULT_SERVER } from "./server-state.js";
import { phrase, sizeInWords, words } from "./words.js";

const ASK_AGAIN_MILLISECONDS = 1_500;

/** The operation on one server; `page` is what servers-and-homes.js knows. */
export function restartOfOther({ hubOf, startUrlOf, loginUrl, surfaces, changed }, user, server) {
  const text = words.others.restart;
  const hub = hubOf(user);
  return new Operation(surfaces.restart, {
    hub,
    loginUrl,
    startUrl: startUrlOf(user, server),
    startLabel: text.start,
    changed,
    failedSentence: phrase(text.failed, { user }),
    phases: text.phases,
    progressPath: hub.restartPath(server),
    facts: () => [
      [words.facts.user, user],
      [words.facts.server, nameInWords(server)],
    ],
    obstacle: () => null, // what is in the way on another's page, only the Hub knows: it refuses
    progress: () => text.progress,
    send: (requestId) => restartUntilReady(hub, server, requestId),
    succeeded: (answers) => restartedNotice(surfaces.restart, user, answers),
    endedUnanswered: ({ ready }) => restartedNotice(surfaces.restart, user, ready),
  });
}

/** The operation on one home; `homeOf()` is what is known about it. */
export function resetOfOther({ hubOf, loginUrl, surfaces, changed }, user, homeOf) {
  const text = words.others.reset;
  const hub = hubOf(user);
  return new Operation(surfaces.reset, {
    hub,
    loginUrl,
    changed,
    failedSentence: phrase(text.failed, { user }),
    phases: text.phases,
    progressPath: "/reset-home-volume",
    toType: user,
    facts: () => factsAboutHome(user, homeOf()),
    obstacle: () => null, // what is in the way on another's page, only the Hub knows: it refuses
    progress: () => text.progress,
    send: (requestId) => resetUntilDone(hub, requestId),
    succeeded: (answer) => {
      const done = phrase(text.done, { user, volume: answer.volume });
      return doneNotice(surfaces.reset, [done, ...backupNote(answer)]);
    },
    endedUnanswered: () => doneNotice(surfaces.reset, [phrase(text.doneElsewhere, { user })]),
  });
}

/** Restarts a server and waits for its end: resolves to whether it answers, rejects when it was not restarted. */
export async function restartUntilReady(hub, server, requestId) {
  const answer = await hub.restartServer(server, requestId);
  if (answer.started_at) return answer.ready;
  for (;;) {
    const { servers } = await onceSent(() => hub.state());
    const { ready, pending, restart } = servers[server] ?? {};
    const own = restart?.request_id === requestId ? restart : null;
    // The Hub calls a server ready that it has: also one that does not answer, and one whose restart was refused.
    if (own?.phase === "done" && !own.failed) return own.ready;
    if (own?.failed || !(own || ready || pending)) {
      const { message = words.others.restart.stopped, reason = "RESTART_FAILED" } = own?.failed ? own : {};
      throw new HubRefusal(500, { message, reason, request_id: requestId }, null);
    }
    if (ready && !own) return true; // the Hub was restarted
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MILLISECONDS));
  }
}

/** A server's name for people. */
export function nameInWords(server) {
  return server === DEFAULT_SERVER ? words.others.defaultServer : server;
}

function restartedNotice(surfaces, user, answers) {
  const text = words.others.restart;
  if (answers) return doneNotice(surfaces, [phrase(text.done, { user })]);
  return { ...doneNotice(surfaces, [phrase(text.silent, { user }), text.silentNext]), kind: "failure" };
}

// It stays in sight while the page scrolls, so it can be put away; the focus stays where it was, and is not lost with the button.
function doneNotice({ notice }, sentences) {
  return { kind: "success", sentences, actions: [{ label: words.close, run: () => (notice.clear(), notice.focus()) }] };
}

function factsAboutHome(user, home) {
  const facts = [[words.facts.user, user]];
  if (home?.volume) facts.push([words.facts.volume, home.volume]);
  if (Number.isFinite(home?.size_bytes)) facts.push([words.facts.size, sizeInWords(home.size_bytes)]);
  return facts;
}
