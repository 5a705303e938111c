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

/** The op at each size that it names; of a fused op, the plain composition of ops that it equals in the next row. */
function opWorkloads(op: OpDefinition<unknown>): Workload[] {
  const { plain } = op;
  return (op.bench ?? []).flatMap((c): Workload[] => {
    const shapes = c.inputs.map((input) => `[${input.shape.join(',')}]${input.transposed ? 'ᵀ' : ''}`);
    const attrs = JSON.stringify(c.attrs);
    const detail = (op.bench ?? []).some((other) => other !== c && sameShapes(other.inputs, c.inputs))
      ? ` ${attrs}`
      : '';
    const workload = (kind: string, run: typeof op.forward): Workload => ({
      name: `op: ${op.name} ${shapes.join(' ')}${detail}${kind}`,
      prepare: (engine) => {
        const inputs = c.inputs.map((input, i) => inputOf(engine, input, i + 1));
        const apply = (): Tensor => noGrad(engine, () => run(inputs, c.attrs));
        const shape = engine.tidy(() => apply().shape);
        const shapes = c.inputs.map((input) => input.shape);
        return { ...captured(engine, apply, inputs), ...op.cost?.(shapes, shape, c.attrs) };
      },
    });
    return [workload('', op.forward), ...(plain === undefined ? [] : [workload(' (plain ops)', plain)])];
  });
}

const sameShapes = (a: readonly CaseInput[], b: readonly CaseInput[]): boolean =>
  JSON.stringify(a.map((i) => i.shape)) === JSON.stringify(b.map((i) => i.shape));

/** Every op of the registry at the sizes that it names. */
export function registryWorkloads(): Workload[] {
  return [...registry.values()].flatMap(opWorkloads);
}
