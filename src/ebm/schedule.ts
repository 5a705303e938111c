import { EliError, type NumberRule } from '../errors.ts';

/** A number for all steps, or a function of the step t = 0 … steps − 1. */
export type Schedule = number | ((t: number, steps: number) => number);

/** From `first` at step 0 to `last` at the last step in equal differences. */
export function linearSchedule(first: number, last: number): Schedule {
  return ramp('linearSchedule', first, last, (share) => mix(first, last, share));
}

/** From `first` to `last` along half a cosine: flat at both ends (Loshchilov and Hutter, 2017, without restarts). */
export function cosineSchedule(first: number, last: number): Schedule {
  return ramp('cosineSchedule', first, last, (share) =>
    mix(first, last, (1 - Math.cos(Math.PI * share)) / 2),
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
  return ramp(
    'exponentialSchedule',
    first,
    last,
    (share) => Math.sign(first) * Math.abs(first) ** (1 - share) * Math.abs(last) ** share,
  );
}

/** Written so that share 0 and 1 give both ends exactly. */
function mix(first: number, last: number, share: number): number {
  return (1 - share) * first + share * last;
}

/** A schedule by the share of the steps that is done: 0 at the first step, 1 at the last. */
function ramp(name: string, first: number, last: number, valueAt: (share: number) => number): Schedule {
  if (!Number.isFinite(first) || !Number.isFinite(last)) {
    throw new EliError('ARGUMENT', `${name}: ${first}, ${last} must be finite`);
  }
  return (t, steps) => valueAt(steps > 1 ? t / (steps - 1) : 0);
}

/**
 * The values of a schedule at every step.
 * @throws EliError `ARGUMENT` naming the parameter, the step and the value that breaks the rule.
 */
export function tabulate(name: string, schedule: Schedule, steps: number, rule: NumberRule): Float64Array {
  return Float64Array.from({ length: steps }, (_, t) => {
    const value = typeof schedule === 'number' ? schedule : schedule(t, steps);
    if (rule.accepts(value)) return value;
    throw new EliError('ARGUMENT', `${name} is ${value} at step ${t}, must be ${rule.words}`);
  });
}
