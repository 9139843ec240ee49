// Turns whatever ended an operation badly into a notice: what happened, a reference, and what to do next.
//
// Always: the Hub's own message where there is one; a next step.
// Never: an exception's text, which is for developers: it goes to the console.

import { HubRefusal, HubUnreachable, SessionEnded } from "./hub-api.js";
import { phrase, waitInWords, words } from "./words.js";

/** The topic of notices about the login. */
export const LOGIN = "login";

// The server is stopped now: starting it is the way on, restarting it again is not.
const STOPPED_REASONS = new Set(["RESTART_FAILED", "SERVER_NOT_RUNNING", "CONTAINER_NOT_FOUND"]);

/**
 * The notice for `error`.
 *
 * @param {{failedSentence: string, startUrl: string, startLabel?: string, loginUrl: string, requestId: string, retry: Function}} context
 */
export function failureNotice(error, context) {
  if (error instanceof SessionEnded) return loginNotice(context, sessionEndedInWords(error));
  if (error instanceof HubRefusal) return refusalNotice(error, context);
  if (!(error instanceof HubUnreachable)) console.error(error);
  const sentences = error instanceof HubUnreachable ? [words.unreachable, words.againIsSafe] : [words.unforeseen];
  return failure([context.failedSentence, ...sentences, reference(context)], { label: words.tryAgain, run: context.retry });
}

/** The notice that the login has ended, without an operation. */
export function signedOutNotice(context) {
  return loginNotice(context, words.signedOut);
}

/** What a login that has ended means for what was asked of the Hub. */
export function sessionEndedInWords({ outcomeUnknown }) {
  return outcomeUnknown ? words.sessionEndedMeanwhile : words.sessionEnded;
}

/** The notice for a failure that the Hub tells about afterwards; it was not begun here, so it cannot be tried again here. */
export function toldFailureNotice({ message, reason, request_id: requestId }, { failedSentence, startUrl }) {
  const start = { label: words.startServer, href: startUrl };
  const sentences = [failedSentence, message, reference({ requestId })];
  return { kind: "failure", sentences, actions: STOPPED_REASONS.has(reason) ? [start] : [] };
}

function refusalNotice(refusal, context) {
  const { message, reason, retryAfterSeconds } = refusal;
  const sentences = [context.failedSentence, message];
  if (retryAfterSeconds) sentences.push(phrase(words.waitFirst, { wait: waitInWords(retryAfterSeconds) }));
  sentences.push(reference(context));
  const start = { label: context.startLabel ?? words.startServer, href: context.startUrl };
  return failure(sentences, STOPPED_REASONS.has(reason) ? start : { label: words.tryAgain, run: context.retry });
}

function loginNotice({ loginUrl }, sentence) {
  return { ...failure([sentence], { label: words.logIn, href: loginUrl }), topic: LOGIN };
}

function failure(sentences, next) {
  return { kind: "failure", sentences, actions: [next] };
}

function reference({ requestId }) {
  return phrase(words.reference, { requestId });
}
