// What can be known of GPUs that this machine has not: Dawn's null back end checks every kernel, pipeline, binding and
// limit, with the kernels and tiles that the engine takes on a GPU, and computes nothing.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { NAMED_WORKLOADS } from '../src/bench/named-workloads.ts';
import { registryWorkloads } from '../src/bench/op-workloads.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { sample } from '../src/ebm/sample.ts';
import { gradientDescent, langevinSampler } from '../src/ebm/unadjusted.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { Initializer } from '../src/nn/init.ts';
import '../src/ops/all.ts';
import { type OpDefinition, registry } from '../src/ops/core/define.ts';
import { observeLaunches } from '../src/ops/core/variants.ts';
import { empty, full } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import {
  applyRecorded,
  caseInputs,
  dtypeOfInput,
  dtypesOf,
  requireGradients,
  toTensor,
} from './support/compare.ts';
import { temporaryFolder } from './support/data.ts';
import { type NullGpu, nullEngine } from './support/null-gpu.ts';

const FEATURES: readonly GPUFeatureName[] = ['timestamp-query', 'shader-f16', 'subgroups'];
const GPUS: Readonly<Record<string, NullGpu>> = {
  'subgroups of 32': { features: FEATURES, subgroup: { min: 32, max: 32 } },
  'subgroups of 16': { features: FEATURES, subgroup: { min: 16, max: 16 } },
  'subgroups of 64': { features: FEATURES, subgroup: { min: 64, max: 64 } },
  'subgroups of 8 to 32': { features: FEATURES, subgroup: { min: 8, max: 32 } },
  'what the standard promises': { features: [], subgroup: { min: 0, max: 0 } },
};

/** An op of the registry and its gradient, on the cases it names. */
function runCases(op: OpDefinition<unknown>, engine: Awaited<ReturnType<typeof nullEngine>>): void {
  for (const dtype of dtypesOf(op, engine)) {
    op.cases.forEach((c, number) => {
      engine.tidy(() => {
        const inputs = caseInputs(op, c, number).map((x, i) =>
          toTensor(engine, x, c.inputs[i]!, dtypeOfInput(op, i, dtype)),
        );
        if (op.backward === undefined) {
          op.forward(inputs, c.attrs);
          return;
        }
        const wanted = requireGradients(op, inputs);
        const output = applyRecorded(op, inputs, c.attrs);
        const gradOutput = full(engine, output.shape, 1, output.dtype);
        grad(output, wanted, { gradOutput });
      });
    });
  }
}

test('the back end does look: what is beyond its limits is refused', async () => {
  const engine = await nullEngine(GPUS['what the standard promises']!);
  const kernel = (name: string, declarations: string, workgroup = 64): string => {
    const path = join(temporaryFolder(), name);
    const text = `${declarations}
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(${workgroup}) fn main(@builtin(local_invocation_index) i: u32) { y[i] = value(i); }`;
    writeFileSync(path, text);
    return path;
  };
  const buffers = Array.from(
    { length: 8 },
    (_, i) => `@group(0) @binding(${i + 1}) var<storage, read> x${i}: array<f32>;`,
  );
  const sum = buffers.map((_, i) => `x${i}[i]`).join(' + ');
  const constant = 'fn value(i: u32) -> f32 { return 1.0; }';
  const good = kernel('good.wgsl', constant);
  const bad = [
    kernel('memory.wgsl', 'var<workgroup> m: array<f32, 4097>; fn value(i: u32) -> f32 { return m[i]; }'),
    kernel('buffers.wgsl', `${buffers.join('\n')}\nfn value(i: u32) -> f32 { return ${sum}; }`),
    kernel('workgroup.wgsl', constant, 512),
    kernel('subgroup.wgsl', 'enable subgroups; fn value(i: u32) -> f32 { return subgroupAdd(1.0); }'),
  ];
  const x = empty(engine, [64]);
  engine.run(good, { storages: [x.storage], groups: [1] });
  await engine.sync();
  for (const file of bad) {
    const storages = file.includes('buffers')
      ? [empty(engine, [64]), ...buffers.map(() => x)].map((t) => t.storage)
      : [x.storage];
    let code = 'none';
    try {
      engine.run(file, { storages, groups: [1] });
      await engine.sync();
    } catch (error) {
      ({ code } = error as { code: string });
    }
    assert.is(code, 'WGSL', file);
  }
  engine.dispose();
});

for (const [name, gpu] of Object.entries(GPUS)) {
  const engine = await nullEngine(gpu);
  test.after(() => engine.dispose());

  test(`${name}: every op and its gradient, by every variant of its kernels`, async () => {
    let variants = 0;
    observeLaunches((family, problem) => {
      for (const variant of family.variants) {
        if (!variant.supports(problem)) continue;
        variants++;
        variant.launch(problem);
      }
    });
    try {
      for (const op of registry.values()) {
        runCases(op, engine);
        await engine.sync();
      }
    } finally {
      observeLaunches(undefined);
    }
    assert.ok(variants > 0);
  });

  test(`${name}: what the benchmark times`, async () => {
    for (const workload of [...NAMED_WORKLOADS, ...registryWorkloads()]) {
      const { run, dispose } = await workload.prepare(engine);
      await run(1);
      await engine.sync();
      dispose();
    }
  });

  test(`${name}: energies, samplers and aligners`, async () => {
    const start = randomNormal(engine, [300, 48], { seed: 1 });
    for (const layers of [0, 1, 2, 3]) {
      for (const hidden of [24, 32, 64, 128]) {
        const energy = { hidden, layers, slope: 0.2 };
        const model = new EnergyModel(new Initializer(engine, 1), { ...energy, latent: 48 });
        const noisy = langevinSampler({ stepSize: 0.1, noise: 0.01 });
        const chain = { steps: 3, random: { seed: 1 } };
        model.energyAndGradient(start);
        sample(model, start, gradientDescent({ stepSize: 0.1 }), { steps: 3 });
        sample(model, start, noisy, { ...chain, variant: 'fused', trajectory: true });
        sample(model, start, noisy, { ...chain, variant: 'plain' });
        const aligner = await EnergyAligner.fit(
          engine,
          { previous: start, current: start },
          { ...energy, iterations: 2, batch: 50, steps: 3, energyL2: hidden === 24 ? 0.1 : 0 },
        );
        aligner.align(start);
        await engine.sync();
        aligner.dispose();
        model.dispose();
      }
    }
    start.dispose();
  });
}

test.run();
