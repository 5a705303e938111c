// Thresholds of gates are set on rows that the gate did not learn from: in `learnGate`, in evaluations, in the MNIST report.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { holdOut } from '../src/data/hold-out.ts';
import { Gate, type GateBatch, type GateData, type GateState } from '../src/eli/gates/all.ts';
import { learnGate } from '../src/eli/gates/learn.ts';
import { MeanShift } from '../src/eli/maps/closed-forms.ts';
import { evaluatePolicies } from '../src/eli/policies/evaluate.ts';
import { measurePolicies } from '../src/experiments/mnist/policies.ts';
import { latentsOf, TwoTaskNet, twoTasks } from '../src/experiments/mnist/two-task.ts';
import { openLatents } from '../src/files/latents.ts';
import { Initializer } from '../src/nn/init.ts';
import { neg } from '../src/ops/unary.ts';
import { slice } from '../src/ops/views.ts';
import { tensor } from '../src/tensor/create.ts';
import { withScope } from '../src/tensor/scope.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { bars } from './support/bars.ts';
import { temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { saveNpy } from './support/latents.ts';

const engine = await openEngine();
test.after(closeEngine);

/** The first number of each row. */
async function firsts(x: Tensor): Promise<number[]> {
  const values = await x.readFloats();
  return Array.from({ length: x.shape[0]! }, (_, i) => values[i * x.shape[1]!]!);
}

/** A gate that notes which rows it is given, and whose scores are their first numbers. */
class Noting extends Gate {
  readonly name = 'noting';
  readonly learnt: number[] = [];
  readonly calibrated: number[][] = [];
  override async fit({ current }: GateData): Promise<void> {
    this.learnt.push(...(await firsts(current!)));
  }
  override async calibrate(batch: GateBatch, quantile: number): Promise<void> {
    this.calibrated.push(await firsts(batch.current!));
    await super.calibrate(batch, quantile);
  }
  override async score({ current }: GateBatch): Promise<Float32Array> {
    return Float32Array.from(await firsts(current!));
  }
  override state(): GateState {
    throw new Error('not saved here');
  }
}

const ascending = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);

test('learnGate: one row in five is held out, by the seed, and sets the threshold alone', async () => {
  const rows = 101;
  const numbers = Float32Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? i / 2 : 0));
  const file = saveNpy(temporaryFolder(), 'rows.npy', numbers, 2);
  const splits: string[] = [];
  for (const seed of [1, 2]) {
    const source = await openLatents(file);
    const gate = new Noting();
    const map = new MeanShift(Float32Array.of(1, 1));
    const held = await learnGate(engine, gate, source, map, { quantile: 1, seed });
    await source.close();
    assert.is(held, 20);
    const [calibrated] = gate.calibrated as [number[]];
    assert.equal([gate.learnt.length, calibrated.length, gate.calibrated.length], [81, 20, 1]);
    assert.equal(
      ascending([...gate.learnt, ...calibrated]),
      Array.from({ length: rows }, (_, i) => i),
    );
    assert.is(gate.threshold, Math.max(...calibrated));
    splits.push(calibrated.join());
  }
  assert.is.not(splits[0], splits[1]);
});

test('evaluatePolicies: gates learn from `fit` and are calibrated on `heldOut`, with each map', async () => {
  const column = (...values: number[]): Tensor =>
    tensor(
      engine,
      values.flatMap((v) => [v, 0]),
      [values.length, 2],
    );
  const gate = new Noting();
  const { rows } = await evaluatePolicies({
    maps: { ridge: { align: (z) => neg(neg(z)) }, other: { align: (z) => neg(z) } },
    reference: 'ridge',
    heads: { old: (z) => neg(neg(z)), new: (z) => neg(neg(z)) },
    gates: [{ gate }],
    fit: { current: column(1, 2, 3) },
    heldOut: { current: column(4, 5) },
    test: { current: column(6, 4) },
    truth: { old: [1, 0], labels: [0, 0] },
    gateQuantile: 1,
    statisticsQuantile: 0,
  });
  assert.equal(gate.learnt, [1, 2, 3]);
  assert.equal(gate.calibrated, [
    [4, 5],
    [4, 5],
  ]);
  assert.equal(
    rows.filter(({ policy }) => policy === 'noting').map((row) => row.gate),
    [100, 100],
    'by the threshold 5, of the held-out rows',
  );
});

test('a split holds out every nth row, and learns from all others', () => {
  assert.equal(holdOut(8, 3), { fit: Uint32Array.of(1, 2, 4, 5, 7), heldOut: Uint32Array.of(0, 3, 6) });
});

test('the MNIST report: each sixth training image of task 2 sets thresholds', async () => {
  await withScope(engine, async (scope) => {
    // Of ten classes, as the digits.
    const set = bars(120, 1);
    const ten = { ...set, classes: 10, labels: set.labels.map((_, i) => i % 10) };
    const sets = twoTasks(engine, { train: ten, test: ten }, scope);
    const net = scope.add(new TwoTaskNet(new Initializer(engine, 1), sets.pixels, 4));
    // The energy is asked for the rows that gates see, before any map: to learn, to calibrate, to measure.
    const asked: Promise<Float32Array>[] = [];
    const aligner = {
      align: (z: Tensor) => neg(neg(z)),
      energy: (z: Tensor) => {
        asked.push(z.readFloats());
        return slice(z, 1, 0, 1);
      },
    };
    const layers = { previous: net.base, current: net.base, oldHead: net.head1, newHead: net.head2 };
    const settings = { kind: 'short', gateQuantile: 0.9, statisticsQuantile: 0.9, seed: 1 } as const;
    await measurePolicies({ ...layers, ...settings, sets, aligner });
    const latents = await scope.own(() => latentsOf(net.base, sets.train2)).readFloats();
    const rowsOf = (chosen: (i: number) => boolean): string =>
      Array.from({ length: sets.train2.count }, (_, i) => i)
        .filter(chosen)
        .map((i) => latents.subarray(4 * i, 4 * i + 4).join())
        .join();
    const [heldOut, measured, fit] = await Promise.all(asked);
    assert.is(asked.length, 3);
    assert.is(
      heldOut!.join(),
      rowsOf((i) => i % 6 === 0),
    );
    assert.is(
      fit!.join(),
      rowsOf((i) => i % 6 !== 0),
    );
    assert.is(measured!.length, 4 * (sets.test1.count + sets.test2.count));
  });
});

test.run();
