// Random small graphs of ops: value and gradients with respect to every leaf against finite differences in float64.
// Nodes are used by any number of later ones, so gradients meet. ELI_PROPERTY_CASES, ELI_PROPERTY_SEED as in
// property.test.ts; a twentieth as many graphs are tried.
import fc from 'fast-check';
import { test } from 'uvu';
import { grad, record } from '../src/autograd/tape.ts';
import '../src/ops/all.ts';
import { add } from '../src/ops/binary.ts';
import { registry } from '../src/ops/core/define.ts';
import { type NdArray, ndarray } from '../src/ops/core/ndarray.ts';
import { sum } from '../src/ops/reduce.ts';
import { tensor } from '../src/tensor/create.ts';
import { broadcastShapes } from '../src/tensor/shape.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { caseInputs, compare } from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const GRAPHS = Math.ceil(Number(process.env.ELI_PROPERTY_CASES ?? 2000) / 20);
const SEED = Number(process.env.ELI_PROPERTY_SEED ?? 1);

const LEAVES = [[3, 4], [4], [3, 1], [1, 4]];
const UNARY = ['tanh', 'sigmoid', 'softplus', 'silu', 'gelu', 'neg', 'abs', 'leakyRelu'];
const BINARY = ['add', 'sub', 'mul', 'maximum', 'minimum'];
const REDUCE = ['sum', 'mean', 'max'];

/** One op: `a` and `b` count back from the newest node. */
interface Step {
  readonly op: string;
  readonly a: number;
  readonly b: number;
}
const step: fc.Arbitrary<Step> = fc.record({
  op: fc.constantFrom(...UNARY, ...BINARY, ...BINARY, ...REDUCE, 'matmul', 'softmax', 'permute'),
  a: fc.nat(9),
  b: fc.nat(9),
});

/** The nodes that a step makes of earlier ones, and its attributes; undefined where it does not fit their shapes. */
function plan(shapes: readonly (readonly number[])[], { op, a, b }: Step) {
  const back = (k: number): number => shapes.length - 1 - (k % shapes.length);
  const [x, y] = [back(a), back(b)];
  const [left, right] = [shapes[x]!, shapes[y]!];
  if (UNARY.includes(op)) return { inputs: [x], attrs: registry.get(op)!.cases[0]!.attrs };
  if (REDUCE.includes(op)) return { inputs: [x], attrs: { axes: [b % left.length] } };
  if (op === 'softmax') return { inputs: [x], attrs: null, dense: true };
  if (op === 'permute') return { inputs: [x], attrs: { axes: [...left.keys()].reverse() } };
  if (op === 'matmul') {
    const fits = left.length === 2 && right.length === 2 && left[1] === right[0];
    return fits ? { inputs: [x, y], attrs: {} } : undefined;
  }
  try {
    broadcastShapes(op, left, right);
  } catch {
    return undefined;
  }
  return { inputs: [x, y], attrs: registry.get(op)!.cases[0]!.attrs };
}

/** Values of all nodes in float64. */
function reference(leaves: readonly NdArray[], steps: readonly Step[]): NdArray[] {
  const nodes = [...leaves];
  for (const s of steps) {
    const made = plan(
      nodes.map((n) => n.shape),
      s,
    );
    if (made !== undefined)
      nodes.push(
        registry.get(s.op)!.reference(
          made.inputs.map((i) => nodes[i]!),
          made.attrs,
        ),
      );
  }
  return nodes;
}

function onDevice(leaves: readonly Tensor[], steps: readonly Step[]): Tensor[] {
  const nodes = [...leaves];
  for (const s of steps) {
    const made = plan(
      nodes.map((n) => n.shape),
      s,
    );
    if (made === undefined) continue;
    const apply = (name: string, inputs: Tensor[], attrs: unknown): Tensor => {
      const op = registry.get(name)!;
      const output = op.forward(inputs, attrs);
      record(output, {
        op: name,
        inputs,
        backward: (g, needs) => op.backward!({ grad: g, inputs, output, attrs, needs }),
      });
      return output;
    };
    const inputs = made.inputs.map((i) => nodes[i]!);
    nodes.push(
      apply(s.op, made.dense ? inputs.map((t) => apply('contiguous', [t], null)) : inputs, made.attrs),
    );
  }
  return nodes;
}

const STEP = 1e-5;

/** The objective is the sum of this many newest nodes, and of the leaves, so that each of them has a gradient. */
const HEADS = 3;

test(`${GRAPHS} random graphs`, async () => {
  const property = fc.asyncProperty(
    fc.array(step, { minLength: 1, maxLength: 12 }),
    fc.integer({ min: 0, max: 1e6 }),
    async (steps, values) => {
      const leaves = caseInputs(
        { name: 'graph' },
        { inputs: LEAVES.map((shape) => ({ shape, range: [-1.5, 1.5] as const })), attrs: null },
        values,
      );
      const objective = (xs: readonly NdArray[]): number =>
        [...reference(xs, steps).slice(-HEADS), ...xs].reduce(
          (total, node) => total + node.data.reduce((a, b) => a + b, 0),
          0,
        );
      // Products of products leave what f32 can follow.
      fc.pre(reference(leaves, steps).every((node) => node.data.every((v) => Math.abs(v) < 50)));
      const here = objective(leaves);
      const [total, gradients] = engine.tidy(() => {
        const tensors = leaves.map((x) => {
          const t = tensor(engine, Float32Array.from(x.data), x.shape);
          t.requiresGrad = true;
          return t;
        });
        const heads = [...onDevice(tensors, steps).slice(-HEADS), ...tensors];
        const total = heads.map((head) => sum(head)).reduce((a, b) => add(a, b));
        return [total, grad(total, tensors)] as const;
      });
      const [value, ...slopes] = await Promise.all([total, ...gradients].map((t) => t.readFloats()));
      for (const t of [total, ...gradients]) t.dispose();
      compare(value!, [here], { abs: 4e-3, rel: 1e-5 }, 'value');
      for (const [i, leaf] of leaves.entries()) {
        for (let k = 0; k < leaf.data.length; k++) {
          const moved = (by: number): number => {
            const data = leaf.data.slice();
            data[k]! += by;
            return objective(leaves.with(i, ndarray(leaf.shape, data)));
          };
          const [ahead, behind] = [moved(STEP), moved(-STEP)];
          const slope = (ahead - behind) / (2 * STEP);
          // At a kink of abs, max, … there is no gradient to check.
          if (Math.abs(ahead - 2 * here + behind) / STEP > 1e-2 * (1 + Math.abs(slope))) continue;
          compare([slopes[i]![k]!], [slope], { abs: 2e-3, rel: 2e-3 }, `leaf ${i}, element ${k}`);
        }
      }
    },
  );
  await fc.assert(property, { seed: SEED, numRuns: GRAPHS, includeErrorInReport: true });
});

test.run();
