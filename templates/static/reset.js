// Resetting the home volume: what the dialog says, the request, and the message at the end.
//
// Always: the dialog names the volume that the Hub named, and the message at the end the one that the Hub says it deleted.

import { Operation } from "./operation.js";
import { phrase, sizeInWords, words } from "./words.js";

const text = words.reset;

/** The reset operation on a page; `home` knows the volume. */
export function resetOperation({ hub, home, user, addresses, surfaces, changed }) {
  let volume = null; // as last shown to the person who confirms, also when it is asked again after a lost answer
  return new Operation(surfaces, {
    ...addresses,
    changed,
    failedSentence: text.failed,
    facts: () => {
      volume = home.current?.volume ?? volume;
      return factsAbout(user, volume, home.current?.size_bytes);
    },
    progress: () => phrase(text.progress, { volume }),
    send: (requestId) => hub.resetHomeVolume(requestId),
    succeeded: (answer) => {
      home.forget();
      return doneNotice(answer);
    },
  });
}

function factsAbout(user, volume, sizeBytes) {
  const facts = [
    [words.facts.user, user],
    [words.facts.volume, volume],
  ];
  if (Number.isFinite(sizeBytes)) facts.push([words.facts.size, sizeInWords(sizeBytes)]);
  return facts;
}

function doneNotice({ volume, backup_id: backup }) {
  const sentences = [phrase(text.done, { volume }), text.doneNext];
  if (backup) sentences.push(phrase(text.backup, { backup }));
  return { kind: "success", sentences };
}
