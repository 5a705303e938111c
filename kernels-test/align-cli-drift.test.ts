// The measures of drift, on latents whose drift is known.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DriftMeter, energyAuroc } from '../src/eli/drift.ts';
import { gaussians, hasCode } from './support/report.ts';

const close = (got: number, want: number, what: string): void =>
  assert.ok(Math.abs(got - want) <= 1e-6 * Math.max(1, Math.abs(want)), `${what}: ${got}, expected ${want}`);

test('two rows, by hand', () => {
  const meter = new DriftMeter(2);
  meter.add(Float32Array.of(3, 4, 1, 0), Float32Array.of(4, 3, 0, 2), Float32Array.of(3, 4, 1, 0));
  const { rows, dim, overall, dimensions } = meter.report();
  assert.equal([rows, dim], [2, 2]);
  // Differences (1, −1) and (−1, 2): mean (0, 0.5).
  close(overall.before.meanShift, 0.5, 'mean shift');
  close(overall.before.euclidean, (Math.SQRT2 + Math.sqrt(5)) / 2, 'distance');
  close(overall.before.cosine, (24 / 25 + 0) / 2, 'cosine');
  assert.equal(overall.after, { meanShift: 0, euclidean: 0, cosine: 1 });
  const [first, second] = dimensions;
  close(first!.before.meanShift, 0, 'mean shift of 0');
  close(first!.before.euclidean, 1, 'distance of 0');
  close(first!.before.cosine, 12 / (Math.sqrt(10) * 4), 'cosine of 0');
  close(second!.before.meanShift, 0.5, 'mean shift of 1');
  close(second!.before.euclidean, Math.sqrt(2.5), 'distance of 1');
  close(second!.before.cosine, 12 / (4 * Math.sqrt(13)), 'cosine of 1');
});

test('batches add up to the whole', () => {
  const [p, c, a] = [1, 2, 3].map((seed) => gaussians(seed, 100 * 7, seed, 1));
  const whole = new DriftMeter(7);
  whole.add(p!, c!, a!);
  const parts = new DriftMeter(7);
  for (let row = 0; row < 100; row += 9) {
    const part = (x: Float32Array): Float32Array => x.subarray(row * 7, (row + 9) * 7);
    parts.add(part(p!), part(c!), part(a!));
  }
  assert.equal(parts.report(), whole.report());
});

test('directions of zeros', () => {
  const meter = new DriftMeter(2);
  meter.add(Float32Array.of(0, 0, 1, 0), Float32Array.of(0, 0, 0, 0), Float32Array.of(0, 0, 1, 0));
  const { overall, dimensions } = meter.report();
  assert.is(overall.before.cosine, 0.5);
  assert.is(overall.after.cosine, 1);
  assert.is(dimensions[1]!.before.cosine, 1);
  assert.is(dimensions[0]!.before.cosine, 0);
});

test('the energy tells apart, or not', () => {
  const low = gaussians(1, 4000, 0, 1);
  assert.is(energyAuroc(low, low), 0.5);
  assert.is(
    energyAuroc(
      low,
      low.map((e) => e + 100),
    ),
    1,
  );
  assert.is(
    energyAuroc(
      low,
      low.map((e) => e - 100),
    ),
    0,
  );
  // Two normal densities a standard deviation apart: Φ(1 / √2) = 0.760.
  const auroc = energyAuroc(low, gaussians(2, 4000, 1, 1));
  assert.ok(Math.abs(auroc - 0.76) < 0.02, String(auroc));
});

test('rows that do not pair up, no rows', () => {
  const meter = new DriftMeter(2);
  const [two, four] = [new Float32Array(2), new Float32Array(4)];
  assert.throws(() => meter.add(two, four, two), hasCode('SHAPE'));
  assert.throws(
    () => meter.add(new Float32Array(3), new Float32Array(3), new Float32Array(3)),
    hasCode('SHAPE'),
  );
  assert.throws(() => meter.report(), hasCode('ARGUMENT'));
});

test.run();
