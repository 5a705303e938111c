import { record } from '../../autograd/tape.ts';
import { checkOptions, EliError } from '../../errors.ts';
import type { Shape } from '../../tensor/shape.ts';
import { type DType, engineOf, type Tensor } from '../../tensor/tensor.ts';
import type { NdArray } from './ndarray.ts';

/** One input of a test case. Its values are random: uniform in `range`, or whole numbers below `below`. */
export interface CaseInput {
  readonly shape: Shape;
  readonly dtype?: Exclude<DType, 'f16'>;
  readonly range?: readonly [number, number];
  readonly below?: number;
  /** Fixed values instead, row-major. */
  readonly values?: readonly number[];
  /** Whether the op gets a transposed view of dense data: the last two axes are swapped in memory. */
  readonly transposed?: boolean;
}

export interface OpCase<A> {
  readonly inputs: readonly CaseInput[];
  readonly attrs: A;
}

/** A case of an op: its attributes, then its inputs. A shape alone stands for random numbers from −2 to 2. */
export function caseOf<A>(attrs: A, ...inputs: readonly (Shape | CaseInput)[]): OpCase<A> {
  return { attrs, inputs: inputs.map((input) => ('shape' in input ? input : { shape: input })) };
}

/** How far f32 results on a device may be from the float64 reference: |got − want| ≤ abs + rel·|want|. */
export interface Tolerance {
  readonly abs: number;
  readonly rel: number;
}

/** The complete description of an op, with what its tests need. */
export interface OpDefinition<A> {
  readonly name: string;
  /** Checks shapes and dtypes, launches, returns the output. */
  readonly forward: (inputs: readonly Tensor[], attrs: A) => Tensor;
  /** Gradients of the inputs, made of ops. Absent for ops without a gradient. */
  readonly backward?: (context: {
    /** Gradient of the output, in its shape. */
    readonly grad: Tensor;
    readonly inputs: readonly Tensor[];
    readonly output: Tensor;
    readonly attrs: A;
    /** Which inputs need a gradient; the others can be skipped. */
    readonly needs: readonly boolean[];
  }) => readonly (Tensor | undefined)[];
  /** A fused op composed of plainer ones, in f32: tests compare values and gradients, `eli bench` times both. */
  readonly plain?: (inputs: readonly Tensor[], attrs: A) => Tensor;
  /** The same in float64 on the CPU, slow and obvious. This and the rest is for tests and benchmarks. */
  readonly reference: (inputs: readonly NdArray[], attrs: A) => NdArray;
  /** Inputs that the op requires to be dense, which its exported function ensures: all, or those at these positions. */
  readonly dense?: true | readonly number[];
  /** Test cases, odd sizes included. */
  readonly cases: readonly OpCase<A>[];
  readonly tolerance: Tolerance;
  /** Inputs that may be f16, and with them the output: all that are real numbers, or those at these positions. */
  readonly half?: true | readonly number[];
  /** Tolerance of f16 results that are rounded more than once. */
  readonly halfTolerance?: Tolerance;
  /** Cases that `eli bench` times, in realistic sizes. */
  readonly bench?: readonly OpCase<A>[];
  /** Floating-point operations and bytes moved for given input and output shapes. */
  readonly cost?: (inputs: readonly Shape[], output: Shape, attrs: A) => { flops: number; bytes: number };
}

/** What `defineOp` needs: a name, what it launches and, for gradients, `backward`. The rest is for tests and benchmarks. */
export type OpBasis<A> = Pick<OpDefinition<A>, 'name' | 'forward' | 'backward'> & Partial<OpDefinition<A>>;

/** Applies an op: checks engines, launches, records on the tape. */
export type Op<A> = (inputs: readonly Tensor[], attrs: A) => Tensor;

/** One application of an op, with its inputs and output. */
export interface Application {
  // biome-ignore lint/suspicious/noExplicitAny: ops of every attribute type
  readonly op: OpBasis<any>;
  readonly inputs: readonly Tensor[];
  readonly attrs: unknown;
  readonly output: Tensor;
}

let observer: ((application: Application) => void) | undefined;
let depth = 0;

/**
 * Calls `fn` after each op applied from now on, except inside other ops; `undefined` stops that. For following a
 * computation: recomputing it in float64, finding the op that produces a NaN.
 */
export function observeOps(fn: ((application: Application) => void) | undefined): void {
  observer = fn;
}

// biome-ignore lint/suspicious/noExplicitAny: the registry holds ops of every attribute type
export const registry = new Map<string, OpDefinition<any>>();

/**
 * Defines an op; the result applies it: `op([x], attrs)`, or `op([x])` where `forward` takes no attributes. With `reference`,
 * `cases` and `tolerance` it is registered: the tests of this package and `eli bench` find it.
 * @throws EliError `ARGUMENT` where name or forward is missing, or an op of that name is registered
 */
export function defineOp<A>(definition: OpDefinition<A>): Op<A>;
export function defineOp(definition: OpBasis<undefined>): (inputs: readonly Tensor[]) => Tensor;
export function defineOp<A>(definition: OpBasis<A>): Op<A>;
export function defineOp<A>(definition: OpBasis<A>): Op<A> {
  checkOptions('defineOp', definition, 'give { name, forward }');
  if (typeof definition.name !== 'string' || typeof definition.forward !== 'function') {
    throw new EliError('ARGUMENT', 'defineOp needs a name and a function `forward`');
  }
  const { name, backward, reference, cases, tolerance } = definition;
  if (reference !== undefined && cases !== undefined && tolerance !== undefined) {
    if (registry.has(name)) throw new EliError('ARGUMENT', `op ${name} is defined twice`);
    registry.set(name, { ...definition, reference, cases, tolerance });
  }
  return (inputs, attrs) => {
    engineOf(name, inputs);
    let output: Tensor;
    depth++;
    try {
      output = definition.forward(inputs, attrs);
    } finally {
      depth--;
    }
    if (depth === 0) observer?.({ op: definition, inputs, attrs, output });
    if (backward !== undefined) {
      record(output, {
        op: name,
        inputs,
        backward: (grad, needs) => backward({ grad, inputs, output, attrs, needs }),
      });
    }
    return output;
  };
}

/** f32 rounding of a short computation. */
export const ROUNDING: Tolerance = { abs: 2e-6, rel: 2e-6 };

/** A few steps whose f32 rounding is relative to the result; results below the smallest normal number may be 0. */
export const FEW_ULP: Tolerance = { abs: 2e-38, rel: 1e-6 };

/** Of WGSL's exp and log: WGSL allows exp an error of 3 + 2|x| ulp, log one of 2⁻²¹ near 1. */
export const EXP_LOG: Tolerance = { abs: 3e-6, rel: 1e-5 };

/** Of pow, computed as exp(y · log x): the error of y · log x, up to 89, becomes a relative one. */
export const POWER: Tolerance = { abs: 2e-38, rel: 3e-5 };

/** No rounding at all: copies, comparisons, integer results. */
export const EXACT: Tolerance = { abs: 0, rel: 0 };

/** Properties of all ops that copy or select elements of any float type. */
export const COPIES = { half: true, tolerance: EXACT } as const;
