// Learning-rate schedules against values worked out by hand.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  constantRate,
  cosineRate,
  everyEpoch,
  multiStepRate,
  type RateSchedule,
  stepRate,
  warmUp,
} from '../src/optim/schedules.ts';
import { fails } from './support/data.ts';

/** That the schedule has these values at these times, to rounding. */
function has(schedule: RateSchedule, values: Readonly<Record<number, number>>): void {
  for (const [t, want] of Object.entries(values)) {
    const got = schedule(Number(t));
    assert.ok(Math.abs(got - want) <= 1e-14 + 1e-12 * want, `at ${t}: ${got}, expected ${want}`);
  }
}

test('constant', () => has(constantRate(0.3), { 0: 0.3, 1e6: 0.3 }));

test('step: a tenth after every 30 epochs, or another factor', () => {
  has(stepRate(0.1, 30), { 0: 0.1, 29: 0.1, 29.99: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 95: 1e-4 });
  has(stepRate(8, 2, 0.5), { 0: 8, 1: 8, 2: 4, 3: 4, 4: 2, 6: 1 });
});

test('multi-step: the milestone itself has the smaller rate', () => {
  has(multiStepRate(0.1, [80, 120]), { 0: 0.1, 79: 0.1, 80: 0.01, 119.5: 0.01, 120: 0.001, 500: 0.001 });
  has(multiStepRate(2, [1, 2, 4], 0.5), { 0: 2, 1: 1, 2: 0.5, 3: 0.5, 4: 0.25 });
  has(multiStepRate(2, []), { 0: 2, 100: 2 });
});

test('cosine: ends, middle, thirds, and after the end', () => {
  has(cosineRate(0.4, 90), { 0: 0.4, 30: 0.3, 45: 0.2, 60: 0.1, 90: 0, 91: 0, 1000: 0 });
  has(cosineRate(0.5, 12, 0.1), { 0: 0.5, 4: 0.4, 6: 0.3, 8: 0.2, 12: 0.1, 13: 0.1 });
  assert.is(cosineRate(0.1, 7)(0), 0.1, 'exactly the rate at the start');
  assert.is(cosineRate(0.1, 7, 0.01)(7), 0.01, 'exactly the last rate at the end');
});

test('warm-up in front of each: even differences, then the schedule from its start', () => {
  has(warmUp(4, multiStepRate(0.5, [3], 0.1)), {
    0: 0.1,
    1: 0.2,
    2: 0.3,
    3: 0.4,
    4: 0.5,
    6: 0.5,
    7: 0.05,
  });
  has(warmUp(1, cosineRate(0.4, 2)), { 0: 0.2, 1: 0.4, 2: 0.2, 3: 0 });
  has(warmUp(1, stepRate(1, 1)), { 0: 0.5, 1: 1, 2: 0.1 });
  has(warmUp(3, constantRate(1)), { 0: 0.25, 0.5: 0.375, 3: 1, 9: 1 });
  has(warmUp(0, constantRate(1)), { 0: 1 });
});

test('in steps: the rate of the epoch', () => {
  has(everyEpoch(stepRate(1, 2), 10), { 0: 1, 9: 1, 19: 1, 20: 0.1, 39: 0.1, 40: 0.01 });
  has(everyEpoch(warmUp(1, constantRate(2)), 3), { 0: 1, 2: 1, 3: 2 });
});

test('what makes no schedule is refused, with the value', async () => {
  const wrong: readonly [() => unknown, RegExp][] = [
    [() => constantRate(-1), /constantRate: rate is -1/],
    [() => stepRate(Number.NaN, 1), /stepRate: rate is NaN/],
    [() => stepRate(1, 0), /stepRate: every is 0/],
    [() => stepRate(1, 1, 0), /stepRate: factor is 0/],
    [() => multiStepRate(1, [2, 2]), /milestones \[2,2\] must rise/],
    [() => multiStepRate(1, [0]), /milestones \[0\]/],
    [() => multiStepRate(1, [Number.POSITIVE_INFINITY]), /milestones \[Infinity\]/],
    [() => cosineRate(1, -3), /cosineRate: length is -3/],
    [() => cosineRate(1, 3, Number.NaN), /cosineRate: last is NaN/],
    [() => warmUp(-1, constantRate(1)), /warmUp: length is -1/],
    [() => everyEpoch(constantRate(1), 0.5), /stepsPerEpoch is 0.5/],
  ];
  for (const [action, pattern] of wrong) await fails(action, 'ARGUMENT', pattern);
});

test.run();
