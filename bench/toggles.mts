// What Dawn's toggles and immediates change, on this adapter: each configuration has a device of its own in this process,
// and samples are taken in turn.
//
//   npx tsx bench/toggles.mts
import { create, globals } from 'webgpu';
import { type BenchRow, measure } from '../src/bench/measure.ts';
import { NAMED_WORKLOADS } from '../src/bench/named-workloads.ts';
import { registryWorkloads } from '../src/bench/op-workloads.ts';
import type { Prepared, Workload } from '../src/bench/workload.ts';
import '../src/ops/all.ts';
import { reportAdapter } from '../src/gpu/adapter.ts';
import { Engine } from '../src/gpu/engine.ts';

/** As src/gpu/adapter.ts starts Dawn, and what is changed. Dawn takes a name that it does not know without a word. */
const CONFIGURATIONS: Readonly<Record<string, { readonly enable?: string[]; readonly disable?: string[] }>> =
  {
    'as shipped': {},
    'the same again (noise)': {},
    disable_robustness: { enable: ['disable_robustness'] },
    skip_validation: { enable: ['skip_validation'] },
    'no lazy_clear_resource_on_first_use': { disable: ['lazy_clear_resource_on_first_use'] },
    disable_workgroup_init: { enable: ['disable_workgroup_init'] },
    'all four': {
      enable: ['disable_robustness', 'skip_validation', 'disable_workgroup_init'],
      disable: ['lazy_clear_resource_on_first_use'],
    },
  };
const ROWS = [
  'op: matmul [512,512] [512,512]',
  'sampler: Langevin, 30 steps, d = 32, 1,024 chains',
  'overhead: 200 dispatches, raw: all prepared, one pass',
  'overhead: 200 ops, eager',
];
const TIME = 1500;

/** An engine on a Dawn of its own: `Engine.create` would share the process's. */
async function open({ enable = [], disable = [] }: (typeof CONFIGURATIONS)[string]): Promise<Engine> {
  const gpu = create([
    `disable-dawn-features=${['timestamp_quantization', ...disable].join(',')}`,
    ...(enable.length > 0 ? [`enable-dawn-features=${enable.join(',')}`] : []),
    ...(process.platform === 'linux' ? ['backend=vulkan'] : []),
  ]);
  instances.push(gpu);
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw new Error('no adapter');
  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value = adapter.limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') requiredLimits[name] = value;
  }
  const wanted = ['timestamp-query', 'shader-f16', 'subgroups'] as GPUFeatureName[];
  const requiredFeatures = wanted.filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
  const Opened = Engine as unknown as new (d: GPUDevice, r: ReturnType<typeof reportAdapter>) => Engine;
  return new Opened(device, reportAdapter(adapter));
}
/** Dawn lives as long as its instance is referenced. */
const instances: GPU[] = [];

/** A workload on another engine than the one that times it: it waits for its own. */
const on = (engine: Engine, name: string, { prepare }: Workload): Workload => ({
  name,
  prepare: async () => {
    const prepared = await prepare(engine);
    const run = async (times: number): Promise<void> => {
      await prepared.run(times);
      await engine.sync();
    };
    return { ...prepared, run };
  },
});

const PARAMS = `
struct Params { a: vec4u, b: vec4u, c: vec4u, d: vec4u }
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = x[id.x] + params.a.x + params.d.w; }`;

/** 200 dispatches whose 64 bytes of params are a slot of a uniform, or immediates. */
function params(engine: Engine, immediate: boolean): Prepared {
  const { device } = engine;
  const { STORAGE, UNIFORM, COPY_DST } = GPUBufferUsage;
  const code = immediate
    ? `requires immediate_address_space; var<immediate> params: Params;${PARAMS}`
    : `@group(0) @binding(2) var<uniform> params: Params;${PARAMS}`;
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } });
  const [x, y] = [0, 1].map(() => device.createBuffer({ size: 256, usage: STORAGE }));
  const uniform = device.createBuffer({ size: 200 * 256, usage: UNIFORM | COPY_DST });
  const bindGroups = Array.from({ length: immediate ? 1 : 200 }, (_, i) =>
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: { buffer: x! } },
        { binding: 1, resource: { buffer: y! } },
        ...(immediate ? [] : [{ binding: 2, resource: { buffer: uniform, offset: i * 256, size: 64 } }]),
      ],
    }),
  );
  const values = new Uint32Array(16);
  return {
    run: (times) => {
      for (let t = 0; t < times; t++) {
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass() as GPUComputePassEncoder & {
          setImmediates(offset: number, data: Uint32Array): void;
        };
        pass.setPipeline(pipeline);
        for (let i = 0; i < 200; i++) {
          if (immediate) {
            if (i === 0) pass.setBindGroup(0, bindGroups[0]!);
            values[0] = i;
            pass.setImmediates(0, values);
          } else pass.setBindGroup(0, bindGroups[i]!);
          pass.dispatchWorkgroups(1);
        }
        pass.end();
        device.queue.submit([encoder.finish()]);
      }
    },
    dispose: () => {
      for (const buffer of [x!, y!, uniform]) buffer.destroy();
    },
  };
}

Object.assign(globalThis, globals);
const engines = new Map<string, Engine>();
for (const [name, toggles] of Object.entries(CONFIGURATIONS)) engines.set(name, await open(toggles));
const first = [...engines.values()][0]!;
console.log(`${first.adapter.name}, ${first.adapter.driver}`);
const show = ({ name, median, low, high, ratio = 1 }: BenchRow): void =>
  console.log(
    `| ${name} | ${median.toPrecision(3)} (${low.toPrecision(3)}–${high.toPrecision(3)}) | × ${ratio.toFixed(2)} |`,
  );
const workloads = [...NAMED_WORKLOADS, ...registryWorkloads()];
for (const row of ROWS) {
  const workload = workloads.find(({ name }) => name === row);
  if (workload === undefined) throw new Error(`no row is called ${row}`);
  console.log(`\n${row}`);
  const each = [...engines].map(([name, engine]) => on(engine, name, workload));
  for (const result of await measure(first, each, { time: TIME })) show(result);
}

const limit =
  (first.device.limits as GPUSupportedLimits & { maxImmediateSize?: number }).maxImmediateSize ?? 0;
console.log(`\nimmediates: ${limit} bytes`);
if (limit >= 64) {
  const ways = [
    { name: '200 dispatches, params in a uniform', prepare: () => params(first, false) },
    { name: '200 dispatches, params as immediates', prepare: () => params(first, true) },
  ];
  for (const result of await measure(first, ways, { time: TIME })) show(result);
}
for (const engine of engines.values()) engine.dispose();
