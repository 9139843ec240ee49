// Runs many asynchronous jobs, a few at a time: the browser has six connections to the Hub, and the page needs some itself.
//
// Always: no more at once than told, in the order given; nothing begins any more once `stopped()` says so.
// Never: a job's failure ends the others: jobs handle their own.

/** Resolves when every job that was begun has ended. */
export async function runBounded(jobs, atOnce, stopped = () => false) {
  const waiting = [...jobs];
  const worker = async () => {
    while (waiting.length > 0 && !stopped()) await waiting.shift()();
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
