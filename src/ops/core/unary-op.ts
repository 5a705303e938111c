import { empty, launch1d } from '../../tensor/create.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { floatDType, storedAs, type Tensor } from '../../tensor/tensor.ts';
import { type CaseInput, defineOp, ROUNDING, type Tolerance } from './define.ts';
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

/** Two numbers that a function may take beside its operand. */
export interface Scalars {
  readonly alpha: number;
  readonly beta: number;
}

/** One elementwise function of one operand: what the op of its name in shaders/lib/unary.wgsl means. */
export interface UnaryFunction {
  readonly value: (x: number, scalars: Scalars) => number;
  /** Gradient of the input. `x` is the input, `y` the output. Absent: piecewise constant. */
  readonly backward?: (g: Tensor, x: Tensor, y: Tensor, scalars: Scalars) => Tensor;
  /** Of a fused function: the same made of plainer ones. */
  readonly plain?: (x: Tensor, scalars: Scalars) => Tensor;
  /** Where test inputs lie; also how `value` is meant to be used. Default: −3 to 3. */
  readonly range?: readonly [number, number];
  readonly scalars?: Scalars;
  readonly tolerance?: Tolerance;
  readonly toleranceNote?: string;
}

const NO_SCALARS: Scalars = { alpha: 0, beta: 0 };

/** Defines the op of a function; the result applies it. */
export function unaryOp(
  name: keyof typeof UNARY_CODES,
  { value, backward, plain, range = [-3, 3], scalars = NO_SCALARS, ...rounding }: UnaryFunction,
): (x: Tensor, scalars?: Scalars) => Tensor {
  const inputs = (input: CaseInput) => ({ inputs: [{ range, ...input }], attrs: scalars });
  const apply = defineOp<Scalars>({
    name,
    tolerance: ROUNDING,
    ...rounding,
    forward: ([x], { alpha, beta }) => launchUnary(name, x!, alpha, beta),
    ...(backward && {
      backward: ({ grad, inputs: [x], output, attrs }) => [backward(grad, x!, output, attrs)],
    }),
    ...(plain && { plain: ([x], scalars) => plain(x!, scalars) }),
    reference: ([x], scalars) => mapped(x!, (v) => value(v, scalars)),
    cases: [
      inputs({ shape: [129] }),
      inputs({ shape: [9, 4] }),
      inputs({ shape: [3, 1, 7], transposed: true }),
    ],
    bench: [inputs({ shape: [1 << 20] })],
    half: true,
    cost: ([shape]) => ({ flops: sizeOf(shape!), bytes: 8 * sizeOf(shape!) }),
  });
  return (x, given = NO_SCALARS) => apply([x], given);
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
