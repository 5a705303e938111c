// Accuracy where float32 is at its limits, and the same bits from the same work.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import '../src/ops/all.ts';
import { registry } from '../src/ops/define.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { matmul } from '../src/ops/matmul.ts';
import { mean, sum } from '../src/ops/reduce.ts';
import { logSoftmax, logSumExp, softmax } from '../src/ops/softmax.ts';
import { tensor } from '../src/tensor/create.ts';
import { randomNormal, randomUniform } from '../src/tensor/random.ts';
import { caseInputs, compare, toTensor } from './support/compare.ts';
import { sameBytes } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const TEN_MILLION = 10_000_000;

test('sum and mean of ten million floats are within 1e-6 of float64', async () => {
  using x = randomUniform(engine, [TEN_MILLION], { seed: 1 });
  const want = (await x.readFloats()).reduce((a, b) => a + b, 0);
  // One running float32 sum would stop growing: it is off by percents here.
  compare([await sum(x).item()], [want], { abs: 0, rel: 1e-6 }, 'sum');
  compare([await mean(x).item()], [want / TEN_MILLION], { abs: 0, rel: 1e-6 }, 'mean');
});

test('sums along each axis of a large matrix', async () => {
  const [rows, columns] = [3001, 1033];
  using x = randomUniform(engine, [rows, columns], { seed: 2 });
  const data = await x.readFloats();
  const byRow = new Float64Array(rows);
  const byColumn = new Float64Array(columns);
  data.forEach((v, i) => {
    byRow[Math.floor(i / columns)]! += v;
    byColumn[i % columns]! += v;
  });
  // A row is added up by one invocation: its rounding grows with the row, some ulp of 6e-8 each here.
  compare(await sum(x, 1).readFloats(), byRow, { abs: 0, rel: 1e-5 }, 'rows');
  compare(await sum(x, 0).readFloats(), byColumn, { abs: 0, rel: 1e-5 }, 'columns');
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

test('cross entropy and its gradient with huge logits stay finite', async () => {
  const x = tensor(engine, Float32Array.of(1e30, -1e30, 0, 1000, 990, 0), [2, 3]);
  x.requiresGrad = true;
  const loss = crossEntropy(x, tensor(engine, Uint32Array.of(0, 1)));
  compare([await loss.item()], [5], { abs: 1e-4, rel: 0 }, 'loss');
  const got = await grad(loss, [x])[0]!.readFloats();
  const p = 1 / (1 + Math.exp(-10));
  compare(got, [0, 0, 0, p / 2, -p / 2, 0], { abs: 1e-6, rel: 0 }, 'gradient');
});

for (const op of registry.values()) {
  test(`${op.name}: the same work gives the same bits`, async () => {
    for (const [number, c] of op.cases.entries()) {
      const inputs = caseInputs(op, c, number);
      const once = async (): Promise<Uint8Array> => {
        using y = engine.tidy(() =>
          op.forward(
            inputs.map((x, i) => toTensor(engine, x, c.inputs[i]!)),
            c.attrs,
          ),
        );
        return new Uint8Array((await y.read()).buffer);
      };
      sameBytes(await once(), await once());
    }
  });
}

test.run();
