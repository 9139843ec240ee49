// Every word that Hubwarden shows on a page, in one place, to be translated here and nowhere else.
//
// Always: plain text with {placeholders}, which `phrase` fills in; says what happens to a person's files in their words.
// Never: HTML, and never a promise that the agent does not keep.

export const words = {
  restart: {
    button: "Restart server",
    about: "Restart shuts down what is running and starts the same server again. Your saved files stay.",
    aboutWaiting: "A restart begins when it has started.",
    announced: "Your server will be restarted at {time}. Save your work before that.",
    title: "Restart your server?",
    explanation: [
      "Running kernels and terminals will be shut down. Unsaved work will be lost. Your saved files stay.",
      "The same server starts again, and this page takes you to it as soon as it answers.",
    ],
    confirm: "Restart server",
    progressTitle: "Restarting your server",
    progress: "Restarting your server…",
    progressNote: "If the server doesn't shut down in time, it is stopped forcibly. You can close this dialog: the restart continues, and this page shows the result.",
    phases: {
      queued: "Waiting for another operation…",
      checking: "Checking…",
      unrouting: "Disconnecting…",
      stopping: "Stopping your server…",
      starting: "Starting your server…",
      locating: "Starting your server…",
      answering: "Your server has been started. Waiting for it to answer…",
      routing: "Reconnecting…",
    },
    steps: [
      { label: "Stopping", phases: ["queued", "checking", "unrouting", "stopping"] },
      { label: "Starting", phases: ["starting", "locating"] },
      { label: "Waiting for the server", phases: ["answering", "routing"] },
      { label: "Ready", phases: ["done"] },
    ],
    leaving: "Your server is ready. Taking you there…",
    done: "Your server was restarted and is ready.",
    failed: "Your server could not be restarted.",
    silent: "Your server was restarted, but doesn't respond yet.",
    silentNext: "Check again in a minute. If it still doesn't respond, stop it and start it again. Your saved files stay.",
    stoppedMeanwhile: "Your server is no longer running. Start it instead.",
  },
  reset: {
    button: "Reset home volume",
    about: "Reset deletes everything in your home folder. Your workspace and your cache stay.",
    title: "Delete everything in your home?",
    explanation: [
      "This permanently deletes your home folder. It also removes packages installed in a stopped container.",
      "Your workspace and cache are kept. Your server starts with a clean home next time.",
    ],
    confirm: "Delete my home volume",
    progressTitle: "Resetting your home volume",
    progress: "Deleting your home volume {volume}…",
    phases: {
      queued: "Waiting for another operation…",
      checking: "Checking that your home volume can be deleted…",
      removing: "Deleting your home volume…",
    },
    steps: [
      { label: "Checking", phases: ["queued", "checking"] },
      { label: "Deleting", phases: ["removing"] },
      { label: "Done", phases: ["done"] },
    ],
    progressNote: "You can close this dialog: the deletion continues, and this page shows the result.",
    done: "Your home volume {volume} was deleted.",
    doneElsewhere: "Your home volume was deleted.",
    stopFirst: "Stop these servers first, because they use your home: {servers}.",
    doneNext: "Your server starts with a clean home next time. Workspace and cache were kept.",
    backup: "A backup was made first: {backup}. An administrator can bring your old home back from it.",
    backupUntil: "A backup was made first: {backup}. An administrator can bring your old home back from it until {until}.",
    failed: "Your home volume could not be reset.",
    noHome: "There is no home volume yet. The first start of your server creates it.",
    cannotTell: "Can't check your home volume right now.",
  },
  facts: {
    user: "User",
    server: "Server",
    volume: "Home volume",
    size: "Size",
    lastUsed: "Last used",
  },
  pending: {
    spawn: "Your server is starting.",
    stop: "Your server is stopping.",
    restart: "Your server is being restarted.",
    other: "Another operation is in progress for your server.",
  },
  stopWaits: {
    agent: "{server} is stopping. The Hub is waiting for the Docker agent, which doesn't respond.",
    operation: "{server} is stopping. The Hub is waiting for another operation to finish.",
  },
  own: {
    start: "Start My Server",
    open: "My Server",
    stop: "Stop My Server",
  },
  named: {
    button: "restart",
    label: "Restart server {server}",
  },
  // The page "Servers and homes". The link to it is in page.html: a page without our script has it too.
  others: {
    text: {
      title: "Servers and homes",
      searchLabel: "Search for a user",
      stateLabel: "Servers",
      stateAny: "Any",
      stateRunning: "Running",
      stateStopped: "Stopped",
      sortLabel: "Sort by",
      sortName: "Name, A to Z",
      sortNameDown: "Name, Z to A",
      sortRunning: "Running first",
      sortActivityDown: "Last active first",
      sortActivity: "Last active last",
      tableLabel: "Users",
      user: "User",
      servers: "Servers",
      home: "Home",
      lastOperation: "Last operation",
      actions: "Actions",
      clearSelection: "Clear selection",
      previous: "Previous page",
      next: "Next page",
      manyTitle: "Restarting servers",
      stopMany: "Stop after current restarts",
      closeMany: "Close",
      againMany: "Retry failed and skipped servers",
      historyTitle: "History",
      historyUser: "User",
      historyActor: "Done by",
      historyKind: "What",
      historyResult: "Result",
      historySince: "From",
      historyUntil: "To",
      any: "Any",
      kindRestart: "Restarts",
      kindReset: "Resets",
      kindForget: "Forgotten servers",
      resultDone: "Done",
      resultFailed: "Failed",
      show: "Show",
      older: "Show older",
      when: "When",
      who: "Done by",
      what: "What",
      result: "Result",
      reference: "Reference",
    },
    count: "Users {first} to {last} of {total}",
    countNone: "No matching users.",
    page: "Page {page} of {pages}",
    selectMatching: "Select all running servers that match",
    selecting: "Collecting the servers…",
    restartSelected: "Restart selected ({count})",
    defaultServer: "default",
    select: "Select {server} of {user}",
    restartLabel: "Restart {server} of {user}",
    resetLabel: "Reset home of {user}",
    historyLabel: "History of {user}",
    restartButton: "Restart",
    resetButton: "Reset home",
    historyButton: "History",
    states: {
      ready: "running",
      stopped: "stopped",
      unknown: "not known",
      spawn: "starting",
      stop: "stopping",
      restart: "restarting",
      check: "being checked",
      waiting: "waiting for another operation",
      running: "restarting",
      done: "restarted",
      failed: "failed",
      skipped: "skipped",
    },
    stopWaits: {
      agent: "stopping: waiting for the Docker agent",
      operation: "stopping: waiting for another operation",
    },
    phases: {
      queued: "waiting for another operation",
      checking: "checking",
      unrouting: "disconnecting",
      stopping: "stopping",
      starting: "starting",
      locating: "starting",
      answering: "waiting for its answer",
      routing: "reconnecting",
    },
    home: {
      unasked: "…",
      exists: "exists",
      none: "none yet",
      unknown: "not known right now",
      notNow: "{home}. {why}",
    },
    operations: {
      restart: "Restart",
      restartOf: "Restart of {server}",
      reset: "Reset of home",
      forget: "Server forgotten",
    },
    forget: {
      button: "Forget server",
      label: "Forget {server} of {user}",
      warning:
        "Forget the server {server} of {user}? The Hub will stop waiting for the Docker agent and remove the server. Its container may still be running and using the home folder.",
      done: "The Hub has forgotten the server of {user}. Its container {container} may still be running.",
      failed: "The server of {user} was not forgotten.",
    },
    results: {
      done: "done",
      failed: "failed",
      none: "no result yet",
    },
    sentence: "{what}, {result}, {ago}, by {actor}",
    noOperation: "none",
    historyUnreadable: "not known right now",
    restart: {
      title: "Restart this server?",
      explanation: [
        "This user's running kernels and terminals will be shut down. Unsaved work will be lost. Saved files stay.",
        "The same server starts again.",
      ],
      confirm: "Restart server",
      progressTitle: "Restarting the server",
      progress: "Restarting the server…",
      progressNote: "You can close this dialog: the restart continues, and this page shows the result.",
      phases: {
        queued: "Waiting for another operation…",
        checking: "Checking…",
        unrouting: "Disconnecting…",
        stopping: "Stopping the server…",
        starting: "Starting the server…",
        locating: "Starting the server…",
        answering: "The server has been started. Waiting for it to answer…",
        routing: "Reconnecting…",
      },
      steps: [
        { label: "Stopping", phases: ["queued", "checking", "unrouting", "stopping"] },
        { label: "Starting", phases: ["starting", "locating"] },
        { label: "Waiting for the server", phases: ["answering", "routing"] },
        { label: "Ready", phases: ["done"] },
      ],
      done: "The server of {user} was restarted and is ready.",
      failed: "The server of {user} could not be restarted.",
      silent: "The server of {user} was restarted, but doesn't respond yet.",
      silentNext: "Check again in a minute. If it still doesn't respond, restart it again.",
      start: "Start the server",
      stopped: "The server is no longer running.",
    },
    reset: {
      title: "Delete everything in this user's home?",
      explanation: [
        "This permanently deletes this user's home folder. It also removes packages installed in a stopped container.",
        "Their workspace and cache are kept. Their server starts with a clean home next time.",
      ],
      confirm: "Delete this home volume",
      progressTitle: "Resetting the home volume",
      progress: "Deleting the home volume…",
      phases: {
        queued: "Waiting for another operation…",
        checking: "Checking that the home volume can be deleted…",
        removing: "Deleting the home volume…",
      },
      steps: [
        { label: "Checking", phases: ["queued", "checking"] },
        { label: "Deleting", phases: ["removing"] },
        { label: "Done", phases: ["done"] },
      ],
      progressNote: "You can close this dialog: the deletion continues, and this page shows the result.",
      done: "The home volume {volume} of {user} was deleted.",
      doneElsewhere: "The home volume of {user} was deleted.",
      failed: "The home volume of {user} could not be reset.",
    },
    many: {
      title: "Restart these servers?",
      explanation: [
        "These users' running kernels and terminals will be shut down. Unsaved work will be lost. Saved files stay.",
        "They are restarted a few at a time, while this page is open. You can stop in between.",
      ],
      confirm: "Restart them",
      progressTitle: "",
      progressNote: "",
      steps: [],
      count: "Servers",
      names: "Of",
      more: "{names} and {count} more",
      standing: "{done} of {total} restarted, {failed} failed, {left} left.",
      stopping: "Stopping: {running} are still under way.",
      finished: "Finished: {done} of {total} restarted, {failed} failed, {skipped} skipped.",
      failure: "{server} of {user}: {message}",
      silent: "It was restarted, but doesn't respond yet.",
    },
    history: {
      choose: "Choose History in a user's row, or write a name, to see what was done.",
      none: "No matching operations.",
      shown: "Operations shown, newest first: {count}",
      noUser: "User not found, or you don't have access.",
      failed: "The history cannot be read now.",
    },
    listFailed: "The users cannot be listed right now. This page keeps trying.",
  },
  defaultServer: "your default server",
  yourServer: "Your server",
  typeToConfirm: "Type {name} to confirm",
  cancel: "Cancel",
  close: "Close",
  cancelWaiting: "Cancel this request",
  waits: "Waiting until another operation or the start of your server has finished…",
  tryAgain: "Try again",
  startServer: "Start my server",
  openServer: "Go to my server",
  logIn: "Log in again",
  reference: "Reference for an administrator: {requestId}",
  waitFirst: "You can try again in {wait}.",
  sessionEnded: "You were logged out, so nothing was done. Log in, then try again.",
  sessionEndedMeanwhile: "You were logged out before this finished. Log in to see the result.",
  signedOut: "You were logged out. Log in to see your server.",
  unreachable: "The Hub cannot be reached. The result is not known yet.",
  againIsSafe: "It is safe to try again: the operation is never done twice.",
  askingAgain: "The Hub cannot be reached. Checking again…",
  offline: "The Hub cannot be reached right now. This page keeps trying.",
  unforeseen: "Something went wrong in this page. Reload it to see the present state.",
};

/** The text with each {placeholder} replaced by the value of that name. */
export function phrase(text, values) {
  return text.replace(/\{(\w+)\}/g, (placeholder, name) => values[name] ?? placeholder);
}

/** A size for people, such as "1.2 GB", in the page's language. */
export function sizeInWords(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const step = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  return inUnit(bytes / 1000 ** step, units[step]);
}

/** A time to wait for people, such as "40 seconds" or "3 minutes", rounded up. */
export function waitInWords(seconds) {
  return seconds < 90 ? inUnit(Math.ceil(seconds), "second") : inUnit(Math.ceil(seconds / 60), "minute");
}

/** A day for people, such as "24 December 2026": where the reader is. */
export function dateInWords(moment) {
  return new Intl.DateTimeFormat(language(), { dateStyle: "long" }).format(new Date(moment));
}

/** A time of day for people. */
export function timeInWords(moment) {
  return new Intl.DateTimeFormat(language(), { timeStyle: "short" }).format(new Date(moment));
}

/** Several things for people, such as "a, b and c". */
export function listInWords(things) {
  return new Intl.ListFormat(language()).format(things);
}

/** A moment for people, such as "3 days ago". */
export function agoInWords(moment) {
  const seconds = (Date.now() - new Date(moment).getTime()) / 1000;
  const steps = [["minute", 60], ["hour", 3600], ["day", 86_400], ["month", 2_629_800], ["year", 31_557_600]];
  const [unit, length] = steps.findLast(([, length]) => seconds >= length) ?? steps[0];
  const format = new Intl.RelativeTimeFormat(language(), { numeric: "auto" });
  return format.format(-Math.floor(seconds / length), unit);
}

function inUnit(value, unit) {
  const unitDisplay = unit.endsWith("byte") && unit !== "byte" ? "short" : "long";
  return new Intl.NumberFormat(language(), { style: "unit", unit, unitDisplay, maximumFractionDigits: 1 }).format(value);
}

// The page's, which JupyterHub sets.
function language() {
  return document.documentElement.lang || "en";
}
