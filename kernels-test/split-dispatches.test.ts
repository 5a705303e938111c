// Products and convolutions of more workgroups than a dispatch may have are cut into several, with the same bits. A device
// that says it allows one workgroup per dimension shows it on small problems.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Engine, Launch as EngineLaunch } from '../src/gpu/engine.ts';
import '../src/ops/all.ts';
import { registry } from '../src/ops/core/define.ts';
import { choices, classKey, observeLaunches } from '../src/ops/core/variants.ts';
import { matmul } from '../src/ops/matmul.ts';
import { zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { sizeOf } from '../src/tensor/shape.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { caseInputs, toTensor } from './support/compare.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

/** Runs `fn` on a device that allows so many workgroups per dimension. */
function withLimit<T>(limit: number, fn: () => T): T {
  const { limits } = engine.device;
  const get = (of: GPUSupportedLimits, name: string) =>
    name === 'maxComputeWorkgroupsPerDimension' ? limit : Reflect.get(of, name, of);
  Object.defineProperty(engine.device, 'limits', { value: new Proxy(limits, { get }), configurable: true });
  try {
    return fn();
  } finally {
    Object.defineProperty(engine.device, 'limits', { value: limits, configurable: true });
  }
}

const sizes: number[] = [];

/** The result of `make`, with products and convolutions on a device that allows so many workgroups, if given. */
async function resultOf(make: () => Tensor, limit?: number): Promise<Float32Array> {
  const run = engine.run;
  const observed = (file: string, launch: EngineLaunch): void => {
    const go = (): void => run.call(engine, file, launch);
    if (limit === undefined || !/^(matmul|conv)\//.test(file)) {
      go();
    } else {
      sizes.push(launch.groups.reduce<number>((product, n = 1) => product * n, 1));
      withLimit(limit, go);
    }
  };
  // All ops name their kernel's file.
  engine.run = observed as Engine['run'];
  try {
    return await engine.tidy(make).readFloats();
  } finally {
    Reflect.deleteProperty(engine, 'run');
  }
}

type Launch = Parameters<Parameters<typeof observeLaunches>[0] & object>;

for (const name of ['matmul', 'linear', 'conv2d', 'conv2dInputGrad', 'conv2dWeightGrad']) {
  test(`${name}: the same bits by one dispatch and by many`, async () => {
    const op = registry.get(name)!;
    const sizeOfCase = ({ inputs }: (typeof op.cases)[number]): number =>
      inputs.reduce((total, { shape }) => total + sizeOf(shape), 0);
    // The largest case has the most workgroups.
    const number = op.cases.reduce(
      (best, c, i) => (sizeOfCase(c) > sizeOfCase(op.cases[best]!) ? i : best),
      0,
    );
    const c = op.cases[number]!;
    const inputs = caseInputs(op, c, number).map((x, i) => toTensor(engine, x, c.inputs[i]!));
    const make = (): Tensor => op.forward(inputs, c.attrs);
    const launches: Launch[] = [];
    observeLaunches((...launch) => launches.push(launch));
    await resultOf(make);
    observeLaunches(undefined);
    const [family, problem] = launches.at(-1)!;
    const map = choices(engine);
    const kernels = new Set<string>();
    for (const variant of family.variants.filter((v) => v.supports(problem))) {
      // Drivers take seconds to compile each tile. The kernel for vectors folds its rows: only batches can be too many.
      const kernel = variant.name.replace(/\d.*/, '');
      if (kernels.has(kernel) || kernel.startsWith('vector')) continue;
      kernels.add(kernel);
      map.set(classKey(family, problem), variant.name);
      assert.equal(await resultOf(make, 1), await resultOf(make), variant.name);
      map.clear();
    }
    assert.ok(kernels.size > 1, [...kernels].join());
  });
}

test('products of many vectors: the same bits by one dispatch and by one for each', async () => {
  const [a, b] = [[40, 1, 1100] as const, [40, 1100, 1] as const].map((shape, i) =>
    randomNormal(engine, shape, { seed: i }),
  ) as [Tensor, Tensor];
  const make = (): Tensor => matmul(a, b);
  const launches: Launch[] = [];
  observeLaunches((...launch) => launches.push(launch));
  await resultOf(make);
  const [family, problem] = launches[0]!;
  const { name } = family.variants.find((v) => v.name.startsWith('vector'))!;
  choices(engine).set(classKey(family, problem), name);
  const [want, got] = [await resultOf(make), await resultOf(make, 1)];
  observeLaunches(undefined);
  choices(engine).clear();
  assert.is(launches.at(-1)![2].name, name);
  assert.equal(got, want);
});

test('some of these had many workgroups', () => {
  assert.ok(Math.max(...sizes) > 8, `at most ${Math.max(...sizes)}`);
});

test('a kernel that cannot be cut says how many workgroups are over the limit', async () => {
  const x = zeros(engine, [2000]);
  const launch = { storages: [x.storage], params: { n: 2000, value: 1 }, groups: [32] } as const;
  await fails(
    () => withLimit(8, () => engine.run('elementwise/fill.wgsl', launch)),
    'ARGUMENT',
    /32 workgroups are over the limit of 8/,
  );
});

test.run();
