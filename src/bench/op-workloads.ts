import { noGrad } from '../autograd/tape.ts';
import type { Engine } from '../gpu/engine.ts';
import { type CaseInput, type OpDefinition, registry } from '../ops/core/define.ts';
import { transpose } from '../ops/views.ts';
import { tensor } from '../tensor/create.ts';
import { bitsAt, randomUniform } from '../tensor/random.ts';
import { sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { captured, type Workload } from './workload.ts';

function inputOf(engine: Engine, input: CaseInput, seed: number): Tensor {
  const { shape, range = [-2, 2], below } = input;
  if (below !== undefined) {
    const values = Uint32Array.from({ length: sizeOf(shape) }, (_, i) =>
      Math.floor((bitsAt({ seed }, i) / 2 ** 32) * below),
    );
    return engine.keep(tensor(engine, values, shape));
  }
  const turned = input.transposed === true ? [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!] : shape;
  const dense = engine.keep(randomUniform(engine, turned, { seed }, ...range));
  return input.transposed === true ? engine.keep(transpose(dense)) : dense;
}

/** A row for each size of the op; of a fused op, followed by one for the equivalent composition of plain ops. */
function opWorkloads({ name, bench = [], forward, plain, cost }: OpDefinition<unknown>): Workload[] {
  return bench.flatMap(({ inputs: given, attrs }): Workload[] => {
    const shapes = given.map(({ shape }) => shape);
    const texts = given.map(({ shape, transposed }) => `[${shape.join(',')}]${transposed ? 'ᵀ' : ''}`);
    const alike = bench.filter(({ inputs }) => sameShapes(inputs, given)).length;
    const detail = alike > 1 ? ` ${JSON.stringify(attrs)}` : '';
    const workload = (kind: string, run: typeof forward): Workload => ({
      name: `op: ${name} ${texts.join(' ')}${detail}${kind}`,
      // Copies and the like have no operations: whatever the shape of the result.
      rated: (cost?.(shapes, shapes[0] ?? [], attrs).flops ?? 0) > 0,
      prepare: (engine) => {
        const inputs = given.map((input, i) => inputOf(engine, input, i + 1));
        const apply = (): Tensor => noGrad(engine, () => run(inputs, attrs));
        const shape = engine.tidy(() => apply().shape);
        return { ...captured(engine, apply, inputs), ...cost?.(shapes, shape, attrs) };
      },
    });
    return [workload('', forward), ...(plain === undefined ? [] : [workload(' (plain ops)', plain)])];
  });
}

const sameShapes = (a: readonly CaseInput[], b: readonly CaseInput[]): boolean =>
  JSON.stringify(a.map((i) => i.shape)) === JSON.stringify(b.map((i) => i.shape));

/** Every op of the registry at the sizes of its definition. */
export function registryWorkloads(): Workload[] {
  return [...registry.values()].flatMap(opWorkloads);
}
