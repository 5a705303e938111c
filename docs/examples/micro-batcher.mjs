// Collects small jobs into batches, so that many requests cost the device about as much as one.

/** More rows wait than the queue holds: the caller should try again later. */
export class QueueFull extends Error {
  name = 'QueueFull';
}

/**
 * Runs one batch at a time; the jobs that arrive meanwhile are the next batch, so nobody waits for a batch to fill up.
 * A job whose signal is aborted leaves the queue; one that is under way is computed, but its caller waits no longer.
 */
export class MicroBatcher {
  #queue = [];
  #queued = 0;
  #running;
  #work;
  #maxBatch;
  #maxQueued;
  /** Batches that were begun. */
  batches = 0;

  /**
   * @param work gets the inputs of some jobs and resolves to one result for each, in the same order
   * @param limits rows of a batch, and rows that may wait; a job of more rows than a batch has is a batch of its own
   */
  constructor(work, { maxBatch, maxQueued }) {
    this.#work = work;
    this.#maxBatch = maxBatch;
    this.#maxQueued = maxQueued;
  }

  /** Rows that wait. */
  get queued() {
    return this.#queued;
  }

  /** The result for one input of so many rows. Rejects with `QueueFull`, the signal's reason, or what the work throws. */
  run(input, rows, signal) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#queued + rows > this.#maxQueued) throw new QueueFull(`${this.#queued} rows are waiting`);
      const job = { input, rows, resolve, reject };
      this.#queue.push(job);
      this.#queued += rows;
      signal?.addEventListener('abort', () => {
        this.#remove(job);
        reject(signal.reason);
      });
      this.#running ??= this.#runAll();
    });
  }

  /** Resolves once no job waits or runs. */
  async idle() {
    await this.#running;
  }

  #remove(job) {
    const at = this.#queue.indexOf(job);
    if (at < 0) return;
    this.#queue.splice(at, 1);
    this.#queued -= job.rows;
  }

  #take() {
    const batch = [];
    let rows = 0;
    while (this.#queue.length > 0 && (rows === 0 || rows + this.#queue[0].rows <= this.#maxBatch)) {
      const job = this.#queue[0];
      this.#remove(job);
      batch.push(job);
      rows += job.rows;
    }
    return batch;
  }

  async #runAll() {
    // Requests that arrive in the same moment belong together.
    await new Promise(setImmediate);
    while (this.#queue.length > 0) {
      const batch = this.#take();
      this.batches++;
      try {
        const results = await this.#work(batch.map(({ input }) => input));
        for (const [i, { resolve }] of batch.entries()) resolve(results[i]);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#running = undefined;
  }
}
