// Resetting the home volume: what the dialog says, the request, and the message at the end.
//
// Always: the dialog names the volume that the Hub named, and the message at the end the one that the Hub says it deleted.

import { Operation, untilKnown } from "./operation.js";
import { DEFAULT_SERVER, namesOf, notStopped } from "./server-state.js";
import { agoInWords, dateInWords, phrase, sizeInWords, words } from "./words.js";

const text = words.reset;

/** The reset operation on a page; `home` knows the volume; `lastUsed()` when a server was last used, or null. */
export function resetOperation({ hub, home, user, addresses, surfaces, changed, known, typeName, lastUsed }) {
  let volume = null; // as last shown to the person who confirms, also when it is asked again after a lost answer
  return new Operation(surfaces, {
    hub,
    loginUrl: addresses.loginUrl,
    startUrl: addresses.startUrlOf(DEFAULT_SERVER),
    changed,
    failedSentence: text.failed,
    phases: text.phases,
    progressPath: "/reset-home-volume",
    toType: typeName ? user : null,
    facts: () => {
      volume = home.current?.volume ?? volume;
      return factsAbout(user, volume, home.current?.size_bytes, lastUsed());
    },
    obstacle: () => obstacle(known),
    progress: () => phrase(text.progress, { volume }),
    send: (requestId) => resetUntilDone(hub, requestId),
    succeeded: (answer) => {
      home.forget();
      return doneNotice(answer);
    },
    endedUnanswered: () => {
      home.forget();
      return doneElsewhereNotice();
    },
  });
}

function obstacle({ state, reachable }) {
  if (!reachable) return words.offline;
  const others = state.kind === "known" ? notStopped(state) : [];
  return others.length > 0 ? phrase(text.stopFirst, { servers: namesOf(others) }) : null;
}

function factsAbout(user, volume, sizeBytes, lastUsed) {
  const facts = [
    [words.facts.user, user],
    [words.facts.volume, volume],
  ];
  if (Number.isFinite(sizeBytes)) facts.push([words.facts.size, sizeInWords(sizeBytes)]);
  if (lastUsed) facts.push([words.facts.lastUsed, agoInWords(lastUsed)]);
  return facts;
}

function doneNotice(answer) {
  return { kind: "success", sentences: [phrase(text.done, { volume: answer.volume }), text.doneNext, ...backupNote(answer)] };
}

/** Resets the home and waits for the end: resolves to the answer that names what was deleted. */
export function resetUntilDone(hub, requestId) {
  return untilKnown({
    hub,
    requestId,
    ask: () => hub.resetHomeVolume(requestId),
    isFinal: (answer) => Boolean(answer.removed_containers),
    partOf: ({ reset }) => reset,
  });
}

/** The notice for a reset of which only the Hub's state tells, without the names that its answer has. */
export function doneElsewhereNotice() {
  return { kind: "success", sentences: [text.doneElsewhere, text.doneNext] };
}

/** What to say about the backup that a reset made: a sentence, or nothing where there is none. */
export function backupNote({ backup_id: backup, backup_until: until }) {
  if (!backup) return [];
  return [until ? phrase(text.backupUntil, { backup, until: dateInWords(until) }) : phrase(text.backup, { backup })];
}
