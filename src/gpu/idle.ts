/*
 * While anything is awaited, Node's binding of Dawn polls the device at every turn of the event loop: a core at 100 %,
 * which a software driver needs. So the loop sleeps a little in each turn that had nothing else to do.
 */

/** Waits shorter than this, in milliseconds, are not delayed. */
const AT_ONCE = 2;
/** Longest sleep in milliseconds: by so much may an event be delayed. */
const LONGEST = 1;
/** Longest sleep as a share of the wait so far. */
const SHARE = 0.05;
/** A turn that took longer, in milliseconds, had work to do. */
const IDLE = 0.2;

const never = new Int32Array(new SharedArrayBuffer(4));
let waits = 0;
let turning = false;
let since = 0;
let last = 0;

function turn(): void {
  if (waits === 0) {
    turning = false;
    return;
  }
  const now = performance.now();
  const waited = now - since;
  if (waited > AT_ONCE && now - last < IDLE) Atomics.wait(never, 0, 0, Math.min(LONGEST, SHARE * waited));
  last = performance.now();
  setImmediate(turn);
}

/** Awaits `work` of a device; meanwhile, idle turns of the event loop sleep. */
export async function idleWhile<T>(work: Promise<T>): Promise<T> {
  // Waits that overlap are one: a training loop reads one piece of its losses while it waits for another.
  if (waits++ === 0) since = performance.now();
  if (!turning) {
    turning = true;
    last = performance.now();
    setImmediate(turn);
  }
  try {
    return await work;
  } finally {
    waits--;
  }
}
