import { checkNumber, checkWhole, EliError, NOT_NEGATIVE, POSITIVE } from '../errors.ts';

/**
 * Learning rate at time t ≥ 0, in the unit that the lengths of the schedule are given in: epochs or steps. A time
 * between two whole ones is allowed.
 */
export type RateSchedule = (t: number) => number;

/** The same rate at every time. @throws EliError `ARGUMENT` unless it is a number from 0. */
export function constantRate(rate: number): RateSchedule {
  checkNumber('constantRate: rate', rate, NOT_NEGATIVE);
  return () => rate;
}

/**
 * The rate times `factor` after every `every` units: rate · factor^⌊t / every⌋ (PyTorch's StepLR).
 * @throws EliError `ARGUMENT` for a rate below 0, a length or factor that is not above 0.
 */
export function stepRate(rate: number, every: number, factor = 0.1): RateSchedule {
  checkNumber('stepRate: rate', rate, NOT_NEGATIVE);
  checkNumber('stepRate: every', every, POSITIVE);
  checkNumber('stepRate: factor', factor, POSITIVE);
  return (t) => rate * factor ** Math.floor(t / every);
}

/**
 * The rate times `factor` from each milestone on (PyTorch's MultiStepLR). The CIFAR networks of He et al. (2016) and
 * LUCIR train for 160 epochs with milestones 80 and 120.
 * @throws EliError `ARGUMENT` for a rate below 0, a factor not above 0, or milestones that do not rise from above 0.
 */
export function multiStepRate(rate: number, milestones: readonly number[], factor = 0.1): RateSchedule {
  checkNumber('multiStepRate: rate', rate, NOT_NEGATIVE);
  checkNumber('multiStepRate: factor', factor, POSITIVE);
  if (!milestones.every((at, i) => Number.isFinite(at) && at > (milestones[i - 1] ?? 0))) {
    throw new EliError('ARGUMENT', `multiStepRate: milestones [${milestones}] must rise, from above 0`);
  }
  const times = [...milestones];
  return (t) => rate * factor ** times.filter((at) => at <= t).length;
}

/**
 * From `rate` at 0 to `last` at `length` along half a cosine (Loshchilov and Hutter, 2017, without restarts), and
 * `last` after that.
 * @throws EliError `ARGUMENT` for a rate below 0 or a length that is not above 0.
 */
export function cosineRate(rate: number, length: number, last = 0): RateSchedule {
  checkNumber('cosineRate: rate', rate, NOT_NEGATIVE);
  checkNumber('cosineRate: last', last, NOT_NEGATIVE);
  checkNumber('cosineRate: length', length, POSITIVE);
  return (t) => {
    const share = (1 + Math.cos(Math.PI * Math.min(t / length, 1))) / 2;
    return share * rate + (1 - share) * last;
  };
}

/**
 * `schedule` after a linear warm-up of `length` units (Goyal et al., 2017): in it the rate is the first of the schedule
 * times (t + 1) / (length + 1), so that it begins above 0. The schedule's own time begins after the warm-up.
 * @throws EliError `ARGUMENT` for a length below 0.
 */
export function warmUp(length: number, schedule: RateSchedule): RateSchedule {
  checkNumber('warmUp: length', length, NOT_NEGATIVE);
  const peak = schedule(0);
  return (t) => (t < length ? (peak * (t + 1)) / (length + 1) : schedule(t - length));
}

/**
 * A schedule in epochs as one in steps; the rate changes between epochs only.
 * @throws EliError `ARGUMENT` unless there is at least one step in an epoch.
 */
export function everyEpoch(schedule: RateSchedule, stepsPerEpoch: number): RateSchedule {
  checkWhole('everyEpoch: stepsPerEpoch', stepsPerEpoch, 1);
  return (step) => schedule(Math.floor(step / stepsPerEpoch));
}
