import { EliError, type NumberRule } from '../errors.ts';

/** A number for all steps, or a function of the step t = 0 … steps − 1. */
export type Schedule = number | ((t: number, steps: number) => number);

/** Value of a schedule at step t of `steps`. */
export function scheduleAt(schedule: Schedule, t: number, steps: number): number {
  return typeof schedule === 'number' ? schedule : schedule(t, steps);
}

/** Share of the schedule that is done at step t: 0 at the first step, 1 at the last. */
const progress = (t: number, steps: number): number => (steps > 1 ? t / (steps - 1) : 0);

/** From `first` at step 0 to `last` at the last step in equal differences. */
export function linearSchedule(first: number, last: number): Schedule {
  return checked('linearSchedule', [first, last], (t, steps) => mix(first, last, progress(t, steps)));
}

/** From `first` to `last` along half a cosine: flat at both ends (Loshchilov and Hutter, 2017, without restarts). */
export function cosineSchedule(first: number, last: number): Schedule {
  return checked('cosineSchedule', [first, last], (t, steps) =>
    mix(first, last, (1 - Math.cos(Math.PI * progress(t, steps))) / 2),
  );
}

/**
 * From `first` to `last` in equal ratios.
 * @throws EliError `ARGUMENT` unless both have the same sign and neither is 0.
 */
export function exponentialSchedule(first: number, last: number): Schedule {
  if (!(first * last > 0)) {
    throw new EliError('ARGUMENT', `exponentialSchedule: no constant ratio leads from ${first} to ${last}`, {
      hint: 'give two numbers of the same sign, neither of them 0',
    });
  }
  return checked('exponentialSchedule', [first, last], (t, steps) => {
    const share = progress(t, steps);
    return Math.sign(first) * Math.abs(first) ** (1 - share) * Math.abs(last) ** share;
  });
}

/** Written so that share 0 and 1 give both ends exactly. */
function mix(first: number, last: number, share: number): number {
  return (1 - share) * first + share * last;
}

function checked(name: string, ends: readonly number[], schedule: Schedule): Schedule {
  if (!ends.every(Number.isFinite)) {
    throw new EliError('ARGUMENT', `${name}: ${ends.join(', ')} must be finite`);
  }
  return schedule;
}

/**
 * The values of a schedule at every step.
 * @throws EliError `ARGUMENT` naming the parameter, the step and the value that breaks the rule.
 */
export function tabulate(name: string, schedule: Schedule, steps: number, rule: NumberRule): Float64Array {
  return Float64Array.from({ length: steps }, (_, t) => {
    const value = scheduleAt(schedule, t, steps);
    if (rule.accepts(value)) return value;
    throw new EliError('ARGUMENT', `${name} is ${value} at step ${t}, must be ${rule.words}`);
  });
}
