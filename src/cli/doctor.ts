import { EliError } from '../errors.ts';
import { Engine } from '../gpu/engine.ts';
import { matmul } from '../ops/matmul.ts';
import { randomUniform } from '../tensor/random.ts';

const SIZE = 512;
const ROUNDS = 20;

const SHOWN_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
] as const;

const print = (label: string, value: string) => process.stdout.write(`${label.padEnd(12)}${value}\n`);

/** Prints what the engine finds on this machine; throws if it cannot compute. */
export async function doctor(options: { adapter?: string }): Promise<void> {
  print('node', `${process.version}, ${process.platform} ${process.arch}`);
  const engine = await Engine.create(options);
  try {
    const { adapter } = engine;
    print(
      'adapter',
      `${adapter.name} (${adapter.vendor}, ${adapter.software ? 'software: computes on the CPU' : 'GPU'})`,
    );
    print('driver', adapter.driver);
    const { min, max } = adapter.subgroup;
    print(
      'subgroups',
      max === 0 ? 'none' : min === max ? `${min} invocations` : `${min} to ${max} invocations`,
    );
    for (const name of SHOWN_LIMITS)
      print('limit', `${name} ${engine.device.limits[name].toLocaleString('en')}`);
    print('features', adapter.features.join(', '));
    await checkMatmul(engine);
    if (adapter.software) {
      print(
        'note',
        'no GPU is used. If this machine has one, install its Vulkan driver; `vulkaninfo --summary` lists what Vulkan finds',
      );
    }
    for (const [feature, without] of MISSING) {
      if (!engine.has(feature))
        print('note', `${feature} is missing: the engine works without it, but ${without}`);
    }
  } finally {
    engine.dispose();
  }
}

/** Optional features, and what an engine without them cannot do. */
const MISSING = [
  ['timestamp-query', 'GPU times cannot be measured'],
  ['shader-f16', 'half precision cannot be used'],
  ['subgroups', 'aligner iterations take the slower plain path'],
] as const;

/** Checks some rows of a product against float64 and times it. */
async function checkMatmul(engine: Engine): Promise<void> {
  const a = randomUniform(engine, [SIZE, SIZE], { seed: 1 }, -1, 1);
  const b = randomUniform(engine, [SIZE, SIZE], { seed: 2 }, -1, 1);
  const c = matmul(a, b);
  const [x, y, z] = await Promise.all([a, b, c].map((t) => t.readFloats()));
  let worst = 0;
  for (let i = 0; i < SIZE; i += 73) {
    for (let j = 0; j < SIZE; j++) {
      let sum = 0;
      for (let k = 0; k < SIZE; k++) sum += x![i * SIZE + k]! * y![k * SIZE + j]!;
      worst = Math.max(worst, Math.abs(sum - z![i * SIZE + j]!));
    }
  }
  if (!(worst < 1e-3)) {
    throw new EliError(
      'VALIDATION',
      `this adapter multiplies matrices wrongly: ${SIZE} × ${SIZE} is off by ${worst}`,
      { hint: 'update its driver, or choose another adapter with --adapter' },
    );
  }
  const program = engine.capture(() => matmul(a, b));
  await engine.sync();
  const start = performance.now();
  program.run(ROUNDS);
  await engine.sync();
  const seconds = (performance.now() - start) / 1000;
  const rate = (2 * SIZE ** 3 * ROUNDS) / seconds / 1e9;
  print('matmul', `${SIZE}³ right to ${worst.toExponential(1)}, ${rate.toFixed(1)} GFLOP/s`);
}
