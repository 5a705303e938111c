import { checkNumber, checkWhole, EliError, NOT_NEGATIVE, POSITIVE } from '../errors.ts';

/** Learning rate at time t ≥ 0, whole or not, in the unit of the schedule's lengths: epochs or steps. */
export type RateSchedule = (t: number) => number;

/** A constant rate. @throws EliError `ARGUMENT` for a rate below 0. */
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
 * From `rate` at 0 to `last` at `length` along half a cosine (Loshchilov and Hutter, 2017, without restarts), then `last`.
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
 * `schedule`, delayed by a linear warm-up of `length` units (Goyal et al., 2017) in which the rate is the initial one of
 * `schedule` times (t + 1) / (length + 1), so it starts above 0.
 * @throws EliError `ARGUMENT` for a length below 0.
 */
export function warmUp(length: number, schedule: RateSchedule): RateSchedule {
  checkNumber('warmUp: length', length, NOT_NEGATIVE);
  const peak = schedule(0);
  return (t) => (t < length ? (peak * (t + 1)) / (length + 1) : schedule(t - length));
}

/** A schedule in epochs as one in steps, constant within an epoch. @throws EliError `ARGUMENT` without steps per epoch. */
export function everyEpoch(schedule: RateSchedule, stepsPerEpoch: number): RateSchedule {
  checkWhole('everyEpoch: stepsPerEpoch', stepsPerEpoch, 1);
  return (step) => schedule(Math.floor(step / stepsPerEpoch));
}
