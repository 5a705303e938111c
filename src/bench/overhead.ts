import type { Engine } from '../gpu/engine.ts';
import { UNARY_CODES } from '../ops/core/unary-op.ts';
import { neg, relu } from '../ops/unary.ts';
import { zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { reflectShader } from '../wgsl/reflect.ts';
import { loadShader } from '../wgsl/source.ts';
import { captured, type Prepared, type Workload } from './workload.ts';

/** Ops per submit, as many as a training step of a small network has. */
const OPS = 200;
const SIZE = 64;
const FILE = 'elementwise/unary.wgsl';
const CODES = [UNARY_CODES.relu, UNARY_CODES.neg] as const;

/** `OPS` chained ops of one workgroup each: so little work that mostly their overhead is timed. */
function chain(engine: Engine, x: Tensor): void {
  engine.tidy(() => {
    let at = x;
    for (let i = 0; i < OPS; i++) {
      const next = i % 2 === 0 ? relu(at) : neg(at);
      if (at !== x) at.dispose();
      at = next;
    }
  });
}

/** The same dispatches through the API alone; `prepared`: with bind groups and params made beforehand. */
function raw(engine: Engine, prepared: boolean): Prepared {
  const { device } = engine;
  const source = loadShader(FILE);
  const { size } = reflectShader(source).uniform!;
  const module = device.createShaderModule({ code: source.code });
  const pipelines = CODES.map((OP) =>
    device.createComputePipeline({ layout: 'auto', compute: { module, constants: { OP } } }),
  );
  const layouts = pipelines.map((pipeline) => pipeline.getBindGroupLayout(0));
  const alignment = device.limits.minUniformBufferOffsetAlignment;
  const stride = Math.ceil(size / alignment) * alignment;
  const { STORAGE, UNIFORM, COPY_DST } = GPUBufferUsage;
  const params = device.createBuffer({ size: OPS * stride, usage: UNIFORM | COPY_DST });
  // shape and stride (two vec4u each), n, rank, offset, alpha, beta
  const values = new Uint32Array(size / 4);
  values.set([SIZE], 0);
  values.set([1], 8);
  values.set([SIZE, 1], 16);
  const data = [0, 1, 2].map(() => device.createBuffer({ size: 4 * SIZE, usage: STORAGE }));
  /** From the first buffer to the third, then back and forth between the third and the second. */
  const bindGroup = (i: number): GPUBindGroup =>
    device.createBindGroup({
      layout: layouts[i % 2]!,
      entries: [
        { binding: 0, resource: { buffer: data[i === 0 ? 0 : 1 + (i % 2)]! } },
        { binding: 1, resource: { buffer: data[2 - (i % 2)]! } },
        { binding: 2, resource: { buffer: params, offset: i * stride, size } },
      ],
    });
  const setParams = (i: number): void => device.queue.writeBuffer(params, i * stride, values);
  for (let i = 0; i < OPS; i++) setParams(i);
  const bindGroups = Array.from({ length: OPS }, (_, i) => bindGroup(i));
  return {
    run: (times) => {
      for (let t = 0; t < times; t++) {
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        for (let i = 0; i < OPS; i++) {
          if (!prepared) setParams(i);
          pass.setPipeline(pipelines[i % 2]!);
          pass.setBindGroup(0, prepared ? bindGroups[i]! : bindGroup(i));
          pass.dispatchWorkgroups(1);
        }
        pass.end();
        device.queue.submit([encoder.finish()]);
      }
    },
    dispose: () => {
      for (const buffer of [params, ...data]) buffer.destroy();
    },
  };
}

function ops(engine: Engine, way: 'captured' | 'eager'): Prepared {
  const x = zeros(engine, [SIZE]);
  if (way === 'captured') return captured(engine, () => chain(engine, x), [x]);
  return {
    run: (times) => {
      for (let t = 0; t < times; t++) {
        chain(engine, x);
        engine.flush();
      }
    },
    dispose: () => x.dispose(),
  };
}

/** The overhead of an op, compared with the API alone: the first row is the reference. */
export const OVERHEAD_WORKLOADS: readonly Workload[] = (
  [
    ['dispatches, raw: all prepared, one pass', (engine) => raw(engine, true)],
    ['ops, captured', (engine) => ops(engine, 'captured')],
    ['ops, eager', (engine) => ops(engine, 'eager')],
    ['dispatches, raw: a bind group and params for each', (engine) => raw(engine, false)],
  ] satisfies [string, Workload['prepare']][]
).map(([what, prepare]) => ({
  name: `overhead: ${OPS} ${what}`,
  unit: 'submits',
  together: 'overhead',
  prepare,
}));
