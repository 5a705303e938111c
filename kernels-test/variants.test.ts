// Every variant of every kernel family, forced in turn, against the float64 reference of its op, and on larger shapes
// against the variant that the rule takes.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import '../src/ops/all.ts';
import { grad } from '../src/autograd/tape.ts';
import { conv2d } from '../src/ops/conv.ts';
import { cast } from '../src/ops/core/cast.ts';
import { registry, type Tolerance } from '../src/ops/core/define.ts';
import { ndarray } from '../src/ops/core/ndarray.ts';
import { choices, classKey, observeLaunches } from '../src/ops/core/variants.ts';
import { matmul } from '../src/ops/matmul.ts';
import { MATMUL, matmulProblem } from '../src/ops/matmul-launch.ts';
import { transpose } from '../src/ops/views.ts';
import { empty, fill, tensor } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import {
  caseInputs,
  compare,
  dtypeOfInput,
  dtypesOf,
  roundedTo,
  toleranceIn,
  toTensor,
} from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

type Launch = Parameters<Parameters<typeof observeLaunches>[0] & object>;

/** The results of `fn` as the rules would have it, and then by each variant that supports one of its launches. */
async function byVariant(
  fn: () => readonly Tensor[],
  some = (names: readonly string[]) => names,
): Promise<Map<string, Float32Array[]>> {
  const values = async (): Promise<Float32Array[]> => {
    const tensors = engine.tidy(fn);
    try {
      return await Promise.all(tensors.map((t) => t.readFloats()));
    } finally {
      for (const t of tensors) t.dispose();
    }
  };
  const launches: Launch[] = [];
  observeLaunches((...launch) => launches.push(launch));
  const results = new Map([['rule', await values()]]);
  observeLaunches(undefined);
  const all = launches.flatMap(([family, problem]) =>
    family.variants.filter((v) => v.supports(problem)).map((v) => v.name),
  );
  const names = some([...new Set(all)]);
  const map = choices(engine);
  for (const name of names) {
    for (const [family, problem] of launches) map.set(classKey(family, problem), name);
    let taken = 0;
    observeLaunches((_, __, variant) => {
      if (variant.name === name) taken++;
    });
    results.set(name, await values());
    assert.ok(taken > 0, `${name} is taken`);
    observeLaunches(undefined);
    map.clear();
  }
  return results;
}

/**
 * The first variant of each kernel, whatever its tile: enough for another dtype, of which only loads and stores know,
 * since drivers take seconds to compile each.
 */
function onePerKernel(names: readonly string[]): string[] {
  const kernel = (name: string): string => name.replace(/\d.*/, '');
  return names.filter((name, i) => names.findIndex((other) => kernel(other) === kernel(name)) === i);
}

const halfTest = engine.has('shader-f16') ? test : test.skip;

halfTest('kernels of matmul take f16, also by vectors, and give f16 or f32', async () => {
  const [m, n, k] = [64, 32, 256];
  const a = cast(randomNormal(engine, [m, k], { seed: 1 }), 'f16');
  const b = cast(randomNormal(engine, [k, n], { seed: 2 }), 'f16');
  const want = await matmul(cast(a, 'f32'), cast(b, 'f32')).readFloats();
  for (const dtype of ['f16', 'f32'] as const) {
    const output = empty(engine, [m, n], dtype);
    const problem = matmulProblem(a, b, undefined, output, []);
    const supported = MATMUL.variants.filter((v) => v.supports(problem));
    const names = onePerKernel(supported.map((v) => v.name));
    assert.ok(names.length >= 4, names.join());
    for (const variant of supported.filter((v) => names.includes(v.name))) {
      fill(output, 0);
      variant.launch(problem);
      const rel = dtype === 'f16' ? 2 ** -10 : 0;
      compare(await output.readFloats(), want, { abs: 1e-4, rel }, `${variant.name} to ${dtype}`);
    }
  }
});

for (const name of ['matmul', 'linear', 'conv2d', 'conv2dInputGrad', 'conv2dWeightGrad']) {
  const op = registry.get(name)!;
  for (const dtype of dtypesOf(op, engine)) {
    const cases = dtype === 'f16' ? op.cases.slice(0, 1) : op.cases;
    cases.forEach((c, number) => {
      test(`variants of ${op.name}, case ${number}, ${dtype}`, async () => {
        const inputs = roundedTo(dtype, op, caseInputs(op, c, number));
        const want = op.reference(inputs, c.attrs);
        const apply = () => [
          op.forward(
            inputs.map((x, i) => toTensor(engine, x, c.inputs[i]!, dtypeOfInput(op, i, dtype))),
            c.attrs,
          ),
        ];
        const results = await byVariant(apply, dtype === 'f16' ? onePerKernel : undefined);
        assert.ok(results.size > 2, 'several variants');
        for (const [name, [got]] of results) compare(got!, want.data, toleranceIn(dtype, op), name);
      });
    });
  }
}

test('no variant of matmul multiplies what lies beyond the last k: infinities there stay infinite', async () => {
  const [m, k, n] = [9, 13, 24];
  const at = (i: number, j: number): number => Math.cos(i + 2.3 * j);
  const a = Float32Array.from({ length: m * k }, (_, i) =>
    i === k - 1 ? Number.POSITIVE_INFINITY : at(i, 1),
  );
  const b = Float32Array.from({ length: k * n }, (_, i) =>
    i === (k - 1) * n ? Number.NEGATIVE_INFINITY : at(i, 2),
  );
  const shapes = [
    [m, k],
    [k, n],
  ] as const;
  const want = registry.get('matmul')!.reference([ndarray(shapes[0], a), ndarray(shapes[1], b)], null).data;
  assert.ok(
    want.every((v, i) => Number.isFinite(v) === (i >= n && i % n > 0)),
    'first row and column',
  );
  const [x, y] = [tensor(engine, a, shapes[0]), tensor(engine, b, shapes[1])];
  for (const [name, [got]] of await byVariant(() => [matmul(x, y)])) {
    compare(got!, want, { abs: 1e-5, rel: 1e-5 }, name);
  }
});

const SHAPES = [
  { n: 3, c: 5, h: 9, w: 11, o: 7, k: [3, 3], stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 },
  { n: 2, c: 16, h: 8, w: 8, o: 33, k: [3, 3], stride: [2, 2], padding: [1, 1], dilation: [1, 1], groups: 1 },
  { n: 1, c: 6, h: 13, w: 6, o: 4, k: [5, 2], stride: [3, 1], padding: [2, 0], dilation: [2, 1], groups: 2 },
  { n: 2, c: 3, h: 5, w: 13, o: 9, k: [2, 3], stride: [1, 2], padding: [0, 4], dilation: [1, 3], groups: 1 },
  { n: 3, c: 2, h: 1, w: 1, o: 3, k: [3, 3], stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 },
  { n: 2, c: 4, h: 6, w: 6, o: 4, k: [3, 3], stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 4 },
  {
    n: 4,
    c: 3,
    h: 17,
    w: 17,
    o: 16,
    k: [7, 7],
    stride: [2, 2],
    padding: [3, 3],
    dilation: [1, 1],
    groups: 1,
  },
] as const;

/** Largest difference from the rule's result for sums of a few hundred products of normal numbers. */
const AGREEMENT: Tolerance = { abs: 1e-4, rel: 1e-5 };

async function agree(fn: () => readonly Tensor[]): Promise<string[]> {
  const results = await byVariant(fn);
  const want = results.get('rule')!;
  for (const [name, got] of results) {
    for (const [i, values] of got.entries()) compare(values, want[i]!, AGREEMENT, `${name}, result ${i}`);
  }
  return [...results.keys()];
}

for (const s of SHAPES) {
  const { stride, padding, dilation, groups } = s;
  test(`variants agree: ${s.n}×${s.c}×${s.h}×${s.w} → ${s.o}, ${s.k.join('×')}, groups ${groups}`, async () => {
    const x = randomNormal(engine, [s.n, s.c, s.h, s.w], { seed: 1 });
    const w = randomNormal(engine, [s.o, s.c / groups, ...s.k], { seed: 2 });
    const b = randomNormal(engine, [s.o], { seed: 3 });
    for (const t of [x, w, b]) t.requiresGrad = true;
    await agree(() => {
      const y = conv2d(x, w, b, { stride, padding, dilation, groups });
      return [y, ...grad(y, [x, w, b], { gradOutput: randomNormal(engine, y.shape, { seed: 4 }) })];
    });
  });
}

for (const [m, n, k] of [
  [132, 136, 260],
  [20, 24, 1024],
  [1, 300, 129],
  [257, 1, 1028],
] as const) {
  for (const layout of ['nn', 'nt', 'tn', 'tt']) {
    test(`variants agree: matmul ${m}×${n}×${k} ${layout}`, async () => {
      const make = (rows: number, columns: number, turned: boolean, seed: number): Tensor =>
        turned
          ? transpose(randomNormal(engine, [columns, rows], { seed }))
          : randomNormal(engine, [rows, columns], { seed });
      const a = make(m, k, layout[0] === 't', 1);
      const b = make(k, n, layout[1] === 't', 2);
      const names = await agree(() => [matmul(a, b)]);
      if (m === 132) assert.ok(names.some((name) => name.startsWith('tiled')));
      if (k % 256 === 0) assert.ok(names.some((name) => name.startsWith('split-K 4')));
    });
  }
}

test.run();
