// Every op and every gradient gives the same bits when it is done again, on other buffers, between other work.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad, record } from '../src/autograd/tape.ts';
import '../src/ops/all.ts';
import { type OpDefinition, registry } from '../src/ops/core/define.ts';
import { tensor } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { type FloatDType, isFloat } from '../src/tensor/tensor.ts';
import { caseInputs, dtypeOfInput, dtypesOf, toTensor } from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

type Bits = Uint32Array;

/** Bits of an op's result and of the gradients of its inputs of real numbers; those of f16 as f32. */
async function bitsOf(op: OpDefinition<unknown>, number: number, dtype: FloatDType): Promise<Bits[]> {
  const c = op.cases[number]!;
  const [output, ...gradients] = engine.tidy(() => {
    const inputs = caseInputs(op, c, number).map((x, i) =>
      toTensor(engine, x, c.inputs[i]!, dtypeOfInput(op, i, dtype)),
    );
    for (const input of inputs) input.requiresGrad = isFloat(input.dtype);
    const output = op.forward(inputs, c.attrs);
    if (op.backward === undefined) return [output];
    record(output, {
      op: op.name,
      inputs,
      backward: (g, needs) => op.backward!({ grad: g, inputs, output, attrs: c.attrs, needs }),
    });
    const gradOutput = tensor(
      engine,
      Float32Array.from({ length: output.size }, (_, i) => Math.sin(i + 1)),
      output.shape,
      isFloat(output.dtype) ? output.dtype : 'f32',
    );
    return [
      output,
      ...grad(
        output,
        inputs.filter((input) => input.requiresGrad),
        { gradOutput },
      ),
    ];
  });
  const tensors = [output!, ...gradients];
  const values = await Promise.all(tensors.map((t) => t.read()));
  for (const t of tensors) t.dispose();
  return values.map((v) => new Uint32Array(v.buffer, v.byteOffset, v.length));
}

for (const op of registry.values()) {
  test(`${op.name}: the same bits twice`, async () => {
    for (const [number, dtype] of [...op.cases.keys()].flatMap((n) =>
      dtypesOf(op, engine).map((d) => [n, d] as const),
    )) {
      const first = await bitsOf(op, number, dtype);
      // Other buffers, with other leftovers, are handed out now.
      const other = randomNormal(engine, [3, 1000 + 700 * number], { seed: number });
      const second = await bitsOf(op, number, dtype);
      other.dispose();
      assert.equal(second, first, `case ${number}, ${dtype}`);
    }
  });
}

test.run();
