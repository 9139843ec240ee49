// Which buttons a person sees, and why one of them cannot act: a pure function of what is known.
//
// Always: Restart and Reset are never offered together; neither is offered while anything is under way.
// Never: looks at the page, or asks the Hub.

import { words } from "./words.js";

const NOTHING = { restart: "hidden", reset: "hidden", hint: "" };

/**
 * What to show: restart and reset are each "hidden", "enabled" or "disabled"; the hint is a sentence, or empty.
 *
 * @param {{server: object, reachable: boolean, home: object|null, mayRestart: boolean, busy: boolean}} known
 */
export function offer({ server, reachable, home, mayRestart, busy }) {
  if (busy || server.kind === "signed-out") return NOTHING;
  const shown = offerWhenReachable(server, home, mayRestart);
  return reachable ? shown : { ...withoutActing(shown), hint: words.offline };
}

function offerWhenReachable(server, home, mayRestart) {
  switch (server.kind) {
    case "ready":
      return { ...NOTHING, restart: mayRestart ? "enabled" : "hidden" };
    case "stopped":
      return offerReset(home);
    case "pending":
      return { ...NOTHING, hint: words.pending[server.pending] ?? "" };
    default:
      return NOTHING;
  }
}

function offerReset(home) {
  if (home === null || home.kind === "withheld") return NOTHING;
  const disabled = (hint) => ({ ...NOTHING, reset: "disabled", hint });
  if (home.kind === "unavailable") return disabled(home.message);
  if (!home.exists) return disabled(words.reset.noHome);
  if (!home.resettable) return disabled(home.message ?? words.reset.cannotTell);
  return { ...NOTHING, reset: "enabled" };
}

function withoutActing(shown) {
  const disable = (button) => (button === "enabled" ? "disabled" : button);
  return { restart: disable(shown.restart), reset: disable(shown.reset) };
}
