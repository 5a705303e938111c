import { empty, launch1d } from '../../tensor/create.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { floatDType, storedAs, type Tensor } from '../../tensor/tensor.ts';
import { type CaseInput, caseOf, defineOp, ROUNDING, type Tolerance } from './define.ts';
import { mapped } from './ndarray.ts';
import { packOf, stridedParams } from './strided.ts';

/** The elementwise functions of one operand by their numbers in shaders/lib/unary.wgsl. */
export const UNARY_CODES = {
  identity: 0,
  neg: 1,
  abs: 2,
  exp: 3,
  log: 4,
  sqrt: 5,
  sigmoid: 6,
  tanh: 7,
  relu: 8,
  leakyRelu: 9,
  softplus: 10,
  silu: 11,
  gelu: 12,
  clamp: 13,
  sign: 14,
  inside: 15,
  affine: 16,
  powScalar: 17,
  erf: 18,
  reciprocal: 19,
  normalCdf: 20,
} as const;

/** One elementwise function of one operand: what the op of its name in shaders/lib/unary.wgsl means. */
interface UnaryFunction {
  /** `alpha` and `beta` are numbers that the function may take beside its operand. */
  readonly value: (x: number, alpha: number, beta: number) => number;
  /** Gradient of the input `x` from the gradient `g` of the output `y`. Absent: piecewise constant. */
  readonly backward?: (g: Tensor, x: Tensor, y: Tensor, alpha: number, beta: number) => Tensor;
  /** A fused function composed of plainer ones. */
  readonly plain?: (x: Tensor) => Tensor;
  /** Range of the test inputs, within the domain of the function. Default: −3 to 3. */
  readonly range?: readonly [number, number];
  /** `alpha` and `beta` in the tests. Default: zeros. */
  readonly scalars?: readonly [alpha: number, beta: number];
  readonly tolerance?: Tolerance;
}

/** Defines the op of a function; the result applies it. */
export function unaryOp(
  name: keyof typeof UNARY_CODES,
  { value, backward, plain, range = [-3, 3], scalars = [0, 0], tolerance = ROUNDING }: UnaryFunction,
): (x: Tensor, alpha?: number, beta?: number) => Tensor {
  const [alpha, beta] = scalars;
  const testCase = (input: CaseInput) => caseOf({ alpha, beta }, { range, ...input });
  const apply = defineOp<{ readonly alpha: number; readonly beta: number }>({
    name,
    forward: ([x], { alpha, beta }) => launchUnary(name, x!, alpha, beta),
    ...(backward && {
      backward: ({ grad, inputs: [x], output, attrs: { alpha, beta } }) => [
        backward(grad, x!, output, alpha, beta),
      ],
    }),
    ...(plain && { plain: ([x]) => plain(x!) }),
    reference: ([x], { alpha, beta }) => mapped(x!, (v) => value(v, alpha, beta)),
    cases: [
      testCase({ shape: [129] }),
      testCase({ shape: [9, 4] }),
      testCase({ shape: [3, 1, 7], transposed: true }),
    ],
    bench: [testCase({ shape: [1 << 20] })],
    half: true,
    tolerance,
    cost: ([shape]) => ({ flops: sizeOf(shape!), bytes: 8 * sizeOf(shape!) }),
  });
  return (x, alpha = 0, beta = 0) => apply([x], { alpha, beta });
}

function launchUnary(name: keyof typeof UNARY_CODES, x: Tensor, alpha: number, beta: number): Tensor {
  const dtype = floatDType(name, x);
  const y = empty(x.engine, x.shape, dtype);
  const walk = stridedParams(x.shape, [x.strides]);
  const pack = packOf(walk.dense, x.size, [x.offset]);
  launch1d(x.engine, pack === 4 ? 'elementwise/unary_fours.wgsl' : 'elementwise/unary.wgsl', x.size / pack, {
    storages: [x.storage, y.storage],
    overrides: { OP: UNARY_CODES[name], ...(pack === 4 ? {} : { RANK: walk.dense ? 0 : walk.rank }) },
    consts: storedAs({ Real: dtype }),
    params: {
      shape: walk.shape,
      stride: walk.strides[0]!,
      n: x.size / pack,
      offset: x.offset / pack,
      alpha,
      beta,
    },
  });
  return y;
}
