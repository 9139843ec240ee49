// Which buttons a person sees, what they would do to the person's files, or why they cannot: pure functions of what is known.
//
// Always: Restart and Reset of the default server are never offered together; nothing is offered while it is being done.
// Never: looks at the page, or asks the Hub.

import { canWaitForStart, DEFAULT_SERVER, namesOf, notStopped, pendingInWords, serverIn } from "./server-state.js";
import { phrase, timeInWords, waitInWords, words } from "./words.js";

const NOTHING = { restart: "hidden", reset: "hidden", hint: "" };

/**
 * What to show for the default server and the home: restart and reset are each "hidden", "enabled" or "disabled"; the hint
 * says what the button does or why it cannot, or is empty.
 *
 * @param {{state: object, reachable: boolean, home: object|null, mayRestart: boolean, busy: boolean}} known
 */
export function offer({ state, reachable, home, mayRestart, busy }) {
  if (busy || state.kind !== "known") return reachable ? NOTHING : { ...NOTHING, hint: words.offline };
  const shown = offerWhenReachable(state, home, mayRestart);
  return reachable ? shown : { ...withoutActing(shown), hint: words.offline };
}

/** Whether a named server's row offers to restart it: "hidden", "enabled" or "disabled". */
export function offerNamed({ state, reachable, mayRestart, busy }, name) {
  const server = serverIn(state, name);
  if (!mayRestart || !(server.kind === "ready" || canWaitForStart(server))) return "hidden";
  return reachable && !busy ? "enabled" : "disabled";
}

function offerWhenReachable(state, home, mayRestart) {
  const server = serverIn(state, DEFAULT_SERVER);
  switch (server.kind) {
    case "ready":
      return offerRestart(state, mayRestart);
    case "stopped":
      return offerReset(state, home);
    case "pending":
      return offerWhilePending(server, mayRestart);
    default:
      return NOTHING;
  }
}

function offerRestart({ restartAnnounced }, mayRestart) {
  const announced = restartAnnounced ? phrase(words.restart.announced, { time: timeInWords(restartAnnounced) }) : null;
  const hint = [announced, mayRestart ? words.restart.about : null].filter(Boolean).join(" ");
  return { ...NOTHING, restart: mayRestart ? "enabled" : "hidden", hint };
}

function offerWhilePending(server, mayRestart) {
  const hint = pendingInWords(server, DEFAULT_SERVER);
  if (!mayRestart || !canWaitForStart(server)) return { ...NOTHING, hint };
  return { ...NOTHING, restart: "enabled", hint: `${hint} ${words.restart.aboutWaiting}` };
}

function offerReset(state, home) {
  if (home === null || home.kind === "withheld") return NOTHING;
  const disabled = (hint) => ({ ...NOTHING, reset: "disabled", hint });
  const others = notStopped(state);
  const delayed = others.find((name) => state.servers.get(name).waitingFor);
  if (delayed) return disabled(pendingInWords(state.servers.get(delayed), delayed));
  if (others.length > 0) return disabled(phrase(words.reset.stopFirst, { servers: namesOf(others) }));
  if (home.kind === "unavailable") return disabled(home.message);
  if (!home.exists) return disabled(words.reset.noHome);
  if (!home.resettable) return disabled(whyNot(home));
  return { ...NOTHING, reset: "enabled", hint: words.reset.about };
}

/** Why a home that exists cannot be reset now, and when to try again. */
export function whyNot({ message, retry_after: seconds }) {
  const wait = seconds ? phrase(words.waitFirst, { wait: waitInWords(seconds) }) : null;
  return [message ?? words.reset.cannotTell, wait].filter(Boolean).join(" ");
}

function withoutActing(shown) {
  const disable = (button) => (button === "enabled" ? "disabled" : button);
  return { restart: disable(shown.restart), reset: disable(shown.reset) };
}
