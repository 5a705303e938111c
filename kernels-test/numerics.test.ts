// Accuracy where float32 is at its limits: long sums, subnormal and very large values.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { normalizeRows } from '../src/nn/losses.ts';
import { mul } from '../src/ops/binary.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { matmul } from '../src/ops/matmul.ts';
import { batchNorm, batchNormEval } from '../src/ops/norm.ts';
import { max, mean, sum } from '../src/ops/reduce.ts';
import { logSoftmax, logSumExp, softmax } from '../src/ops/softmax.ts';
import { reshape, slice } from '../src/ops/views.ts';
import { full, tensor } from '../src/tensor/create.ts';
import { randomNormal, randomUniform } from '../src/tensor/random.ts';
import { compare } from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const TEN_MILLION = 10_000_000;

/** Sums in float64 along the rows and columns of a matrix, and those of absolute values. */
function sums(data: Float32Array, columns: number) {
  const [byRow, byColumn] = [data.length / columns, columns].map((n) => ({
    sum: new Float64Array(n),
    size: new Float64Array(n),
  })) as [Sums, Sums];
  data.forEach((v, i) => {
    const column = i % columns;
    const row = (i - column) / columns;
    byRow.sum[row]! += v;
    byRow.size[row]! += Math.abs(v);
    byColumn.sum[column]! += v;
    byColumn.size[column]! += Math.abs(v);
  });
  return { byRow, byColumn };
}
interface Sums {
  readonly sum: Float64Array;
  readonly size: Float64Array;
}

/** Largest difference to the sums of float64, over the sum of absolute values: for positive numbers the relative error. */
const error = (got: ArrayLike<number>, want: Sums): number =>
  want.sum.reduce((most, v, i) => Math.max(most, Math.abs(got[i]! - v) / want.size[i]!), 0);

for (const [numbers, make] of [
  ['positive numbers', randomUniform],
  ['numbers of both signs', randomNormal],
] as const) {
  // One running float32 sum would stop growing: it is off by percents here.
  test(`sums and means over ten million ${numbers} are within 1e-6 of float64, along any axis`, async () => {
    using x = make(engine, [TEN_MILLION], { seed: 1 });
    const data = await x.readFloats();
    const all = sums(data, TEN_MILLION).byRow;
    assert.ok(error([await sum(x).item()], all) < 1e-6, 'sum');
    assert.ok(error([(await mean(x).item()) * TEN_MILLION], all) < 1e-6, 'mean');
    for (const columns of [4000, 1_000_000]) {
      const { byRow, byColumn } = sums(data, columns);
      const matrix = reshape(x, [-1, columns]);
      const places = `of [${matrix.shape}]`;
      assert.ok(error(await sum(matrix, 1).readFloats(), byRow) < 1e-6, `rows ${places}`);
      assert.ok(error(await sum(matrix, 0).readFloats(), byColumn) < 1e-6, `columns ${places}`);
    }
  });
}

test('log-sum-exp of sixteen rows of 600,000', async () => {
  using x = randomUniform(engine, [16, 600_000], { seed: 2 });
  const data = await x.readFloats();
  const { sum: totals } = sums(data.map(Math.exp), 600_000).byRow;
  // Its absolute error is the relative one of the sum; WGSL allows exp 3 + 2|x| ulp of 6e-8.
  const tolerance = { abs: 1e-5, rel: 0 };
  compare(await logSumExp(x).readFloats(), totals.map(Math.log), tolerance, 'log-sum-exp');
});

test('matrix products over 4,099 terms', async () => {
  const [m, k, n] = [3, 4099, 5];
  const [a, b] = [randomNormal(engine, [m, k], { seed: 3 }), randomNormal(engine, [k, n], { seed: 4 })];
  const [x, y] = [await a.readFloats(), await b.readFloats()];
  const want = Array.from({ length: m * n }, (_, i) => {
    let total = 0;
    for (let t = 0; t < k; t++) total += x[Math.floor(i / n) * k + t]! * y[t * n + (i % n)]!;
    return total;
  });
  // Partial sums reach some 100, with an ulp of 8e-6; their roundings add up like a random walk.
  compare(await matmul(a, b).readFloats(), want, { abs: 2e-4, rel: 2e-6 }, 'product');
});

const LOGITS = [
  [1e30, 0, -1e30],
  [3e38, 3e38, -3e38],
  [-3e38, -3e38, -3e38],
  [1e-30, -1e-30, 0],
  [1e-40, -3e-40, 2e-45],
  [3.4e38, -3.4e38, 0],
  [-1000, -1001, -1002],
  [88.8, 89.5, 90.1],
  [0, -104, -200],
];

test('softmax, log-softmax and log-sum-exp of huge and tiny logits', async () => {
  const x = tensor(engine, Float32Array.from(LOGITS.flat()), [LOGITS.length, 3]);
  const rows = LOGITS.map((row) => {
    const exact = row.map(Math.fround);
    const largest = Math.max(...exact);
    const total = exact.reduce((s, v) => s + Math.exp(v - largest), 0);
    // −6e38 is below the smallest float32: the result is that of the range's end or −∞; both are looked at apart.
    return { p: exact.map((v) => Math.exp(v - largest) / total), lse: largest + Math.log(total) };
  });
  // WGSL allows exp 3 + 2|x| ulp and log 2^-21; a sum's ulp counts where the logits are large.
  const tolerance = { abs: 1e-6, rel: 1e-6 };
  const p = await softmax(x).readFloats();
  compare(
    p,
    rows.flatMap((row) => row.p),
    tolerance,
    'softmax',
  );
  compare(
    await logSumExp(x).readFloats(),
    rows.map((row) => row.lse),
    tolerance,
    'log-sum-exp',
  );
  const log = await logSoftmax(x).readFloats();
  rows.forEach((row, r) => {
    row.p.forEach((value, c) => {
      const at = 3 * r + c;
      if (value > 1e-30) compare([log[at]!], [Math.log(value)], tolerance, `log-softmax of row ${r}`);
      else assert.ok(log[at]! < -100, `log-softmax of row ${r} is ${log[at]}`);
    });
  });
});

test('log-sum-exp of infinities', async () => {
  const rows = [
    [Infinity, 1, 2],
    [-Infinity, 1, 1],
    [-Infinity, -Infinity, -Infinity],
    [Infinity, -Infinity, 0],
  ];
  const got = await logSumExp(tensor(engine, rows.flat(), [4, 3])).readFloats();
  assert.is(got[0], Infinity);
  compare([got[1]!], [1 + Math.LN2], { abs: 1e-6, rel: 0 }, 'one of minus infinity');
  assert.is(got[2], -Infinity);
  assert.is(got[3], Infinity);
});

test('cross entropy and its gradient with huge and tiny logits, for each class', async () => {
  for (const target of [0, 1, 2]) {
    const x = tensor(engine, Float32Array.from(LOGITS.flat()), [LOGITS.length, 3]);
    x.requiresGrad = true;
    const exact = LOGITS.map((row) => row.map(Math.fround));
    const p = exact.map((row) => {
      const powers = row.map((v) => Math.exp(v - Math.max(...row)));
      const total = powers.reduce((a, b) => a + b, 0);
      return powers.map((v) => v / total);
    });
    // Differences beyond float32 are infinite, nothing is NaN.
    const losses = exact.map((row, r) => {
      const largest = p[r]!.indexOf(Math.max(...p[r]!));
      return Math.fround(row[largest]! - row[target]! - Math.log(p[r]![largest]!));
    });
    for (const [r, want] of losses.entries()) {
      const row = reshape(slice(x, 0, r, r + 1), [1, 3]);
      const got = await crossEntropy(row, tensor(engine, Uint32Array.of(target))).item();
      if (want === Number.POSITIVE_INFINITY) assert.is(got, want);
      else compare([got], [want], { abs: 1e-6, rel: 1e-6 }, `loss of row ${r}, class ${target}`);
    }
    const labels = tensor(engine, new Uint32Array(LOGITS.length).fill(target));
    const got = await grad(crossEntropy(x, labels), [x])[0]!.readFloats();
    const want = p.flatMap((row) => row.map((v, c) => (v - (c === target ? 1 : 0)) / LOGITS.length));
    compare(got, want, { abs: 1e-7, rel: 1e-6 }, `gradient, class ${target}`);
  }
});

/** Smallest normal float32: adapters may take what is below it for 0. */
const SUBNORMAL = 2 ** -126;

test('rows over their norms: tiny, large, far apart, and too large for squares', async () => {
  const rows = [
    [3e-10, -4e-10],
    [3e18, -4e18],
    [1e-15, 1],
    [0, 0],
    // Norms count as 1e-12 at least.
    [3e-20, 4e-20],
    [1e-40, 0],
  ];
  const x = tensor(engine, Float32Array.from(rows.flat()), [rows.length, 2]);
  x.requiresGrad = true;
  const y = normalizeRows(x);
  const want = rows.flatMap((row) => row.map((v) => v / Math.max(1e-12, Math.hypot(...row))));
  compare(await y.readFloats(), want, { abs: SUBNORMAL / 1e-12, rel: 1e-6 }, 'rows');
  // Σ aᵢ yᵢ of a row r with norm n: (a − y (a · y)) / n.
  const slopes = await grad(sum(mul(y, tensor(engine, [1, 0]))), [x])[0]!.readFloats();
  rows.forEach((row, r) => {
    const n = Math.hypot(...row);
    const [u, v] = row.map((value) => value / Math.max(1e-12, n)) as [number, number];
    const slope = n > 1e-12 ? [(1 - u * u) / n, (-v * u) / n] : [1e12, 0];
    const size = Math.max(...slope.map(Math.abs), 1 / Math.max(n, 1e-12));
    compare(slopes.slice(2 * r, 2 * r + 2), slope, { abs: 1e-6 * size, rel: 0 }, `gradient of row ${r}`);
  });
  // ‖x‖² is beyond float32: as in PyTorch the row becomes 0, and --check-numerics names the op (its own tests).
  const large = normalizeRows(tensor(engine, [1e20, 1e20], [1, 2]));
  assert.equal(await large.readFloats(), Float32Array.of(0, 0));
});

test('batch norms of subnormal and large values, and of squares beyond float32', async () => {
  for (const scale of [1e-40, 1e-20, 1, 1e15, 1e18]) {
    const values = [1, 2, 3, -4].map((v) => Math.fround(v * scale));
    const x = tensor(engine, values, [4, 1, 1, 1]);
    x.requiresGrad = true;
    const [one, zero] = [full(engine, [1], 1), full(engine, [1], 0)];
    const y = batchNorm(x, one, zero);
    const center = values.reduce((a, b) => a + b, 0) / 4;
    const variance = values.reduce((a, v) => a + (v - center) ** 2, 0) / 4;
    const deviation = Math.sqrt(variance + 1e-5);
    const want = values.map((v) => (v - center) / deviation);
    compare(await y.readFloats(), want, { abs: (4 * SUBNORMAL) / deviation, rel: 2e-6 }, `scale ${scale}`);
    const pick = tensor(engine, [1, 0, 0, 0], [4, 1, 1, 1]);
    const got = await grad(sum(mul(y, pick)), [x])[0]!.readFloats();
    const slopes = want.map((v, i) => ((i === 0 ? 1 : 0) - 1 / 4 - (v * want[0]!) / 4) / deviation);
    compare(got, slopes, { abs: 1e-6 / deviation, rel: 0 }, `gradient, scale ${scale}`);
    const fixed = batchNormEval(x, one, zero, { mean: full(engine, [1], scale), variance: one });
    const shifted = values.map((v) => (v - Math.fround(scale)) / Math.sqrt(1 + 1e-5));
    compare(await fixed.readFloats(), shifted, { abs: 2 * SUBNORMAL, rel: 1e-6 }, `fixed, scale ${scale}`);
  }
  for (const scale of [1e19, 1e25, 5e37]) {
    const x = tensor(engine, [scale, 2 * scale, 3 * scale, -4 * scale], [4, 1, 1, 1]);
    const y = await batchNorm(x, full(engine, [1], 1), full(engine, [1], 0)).readFloats();
    assert.ok(
      y.every((v) => Number.isNaN(v)),
      `${scale}: NaN, as zeros would pass for results: ${y}`,
    );
  }
});

test('sums and maxima of subnormals', async () => {
  const x = tensor(engine, [-1e-40, -3e-40, -2e-45]);
  compare([await sum(x).item()], [-4e-40], { abs: 3 * SUBNORMAL, rel: 0 }, 'sum');
  const largest = await max(x).item();
  assert.ok(largest <= 0 && largest >= -1e-44, `the largest is ${largest}`);
});

test.run();
