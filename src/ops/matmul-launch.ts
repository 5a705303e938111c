import { empty } from '../tensor/create.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import { ELEMENT_BYTES, storedAs, Tensor } from '../tensor/tensor.ts';
import { broadcastStrides } from './core/strided.ts';
import {
  type Family,
  type Operand,
  operandOf,
  type Problem,
  sizeBucket,
  type Tile,
  type Variant,
  variantsOf,
} from './core/variants.ts';
import { sumPartsInto } from './reduce.ts';
import { copyInto } from './views.ts';

/** A batch of matrices: elements from one row, column and batch element to the next. */
interface Matrix extends Operand {
  readonly row: number;
  readonly column: number;
  readonly batch: number;
  readonly batchOuter: number;
}

/** C [batch, m, n] = A [batch, m, k] · B [batch, k, n] (+ bias [n]); C is dense. */
interface MatmulProblem extends Problem {
  readonly inputs: readonly [a: Matrix, b: Matrix, bias: Operand | undefined];
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch: number;
  /** The last of two batch dimensions. */
  readonly batchInner: number;
}

/** The product of two tensors whose batch dimensions broadcast to `batch`: at most two dimensions. */
export function matmulProblem(
  a: Tensor,
  b: Tensor,
  bias: Tensor | undefined,
  output: Tensor,
  batch: Shape,
): MatmulProblem {
  const matrix = (x: Tensor): Matrix => {
    const strides = broadcastStrides(x, [...batch, ...x.shape.slice(-2)]);
    return {
      ...operandOf(x),
      row: strides.at(-2)!,
      column: strides.at(-1)!,
      batch: strides.at(-3) ?? 0,
      batchOuter: strides.at(-4) ?? 0,
    };
  };
  return {
    inputs: [matrix(a), matrix(b), bias && operandOf(bias)],
    output: operandOf(output),
    m: a.shape.at(-2)!,
    n: b.shape.at(-1)!,
    k: a.shape.at(-1)!,
    batch: sizeOf(batch),
    batchInner: batch.at(-1) ?? 1,
  };
}

const variant = variantsOf((problem: MatmulProblem, tile: Tile) => {
  const { m, n, k, output, batch, batchInner } = problem;
  const [a, b, bias] = problem.inputs;
  const { engine } = output.storage;
  engine.run(tile.file, {
    storages: [a.storage, b.storage, (bias ?? b).storage, output.storage],
    overrides: tile.overrides ?? {},
    consts: { ...tile.consts, ...storedAs({ Real: a.dtype, Result: output.dtype }) },
    params: {
      lanes: engine.subgroupLanes ?? 0,
      m,
      n,
      k,
      batch_inner: batchInner,
      offset_a: a.offset,
      offset_b: b.offset,
      batch_a: a.batch,
      batch_a_outer: a.batchOuter,
      batch_b: b.batch,
      batch_b_outer: b.batchOuter,
      row_a: a.row,
      col_a: a.column,
      row_b: b.row,
      col_b: b.column,
      has_bias: bias === undefined ? 0 : 1,
      offset_bias: bias?.offset ?? 0,
      offset_c: output.offset,
    },
    groups: [Math.ceil(n / tile.columns), Math.ceil(m / tile.rows), batch],
  });
});

type MatmulVariant = Variant<MatmulProblem>;

/** Tiles in registers only: WX × WY invocations of TM × TN. Any strides. */
function registers(WX: number, WY: number, TM: number, TN: number): MatmulVariant {
  const tile = { rows: WY * TM, columns: WX * TN, overrides: { WX, WY }, consts: { TM, TN } };
  const name = `registers ${tile.rows}×${tile.columns} of ${TM}×${TN}`;
  return variant(name, () => ({ file: 'matmul/matmul.wgsl', ...tile }));
}

/** One subgroup per tile of TM rows; operands are passed round by shuffles. */
function subgroup(TM: number, TN: number): MatmulVariant {
  return variant(`subgroup ${TM}×${TN}`, (_, LANES) => {
    if (LANES === undefined) return undefined;
    return { file: 'matmul/matmul_subgroup.wgsl', rows: TM, columns: LANES * TN, consts: { TM, TN, LANES } };
  });
}

type Direction = 'row' | 'column' | undefined;

/** The dense direction of a matrix, if it can be read by vectors of `size` along it. */
function vectorDirection(x: Matrix, rows: number, columns: number, size = 4): Direction {
  if ([x.offset, x.batch, x.batchOuter].some((n) => n % size !== 0)) return undefined;
  if (x.column === 1 && columns % size === 0 && x.row % size === 0) return 'row';
  return x.row === 1 && rows % size === 0 && x.column % size === 0 ? 'column' : undefined;
}

/** The overrides of kernels that read A and B by vectors; undefined where either cannot. */
function vectorOverrides(a: Direction, b: Direction) {
  if (a === undefined || b === undefined) return undefined;
  return { A_ALONG_K: a === 'row' ? 1 : 0, B_ALONG_K: b === 'column' ? 1 : 0 };
}

/** As `subgroup`, for a B with dense rows: TV vectors of four columns per lane. */
function subgroupVec4(TM: number, TV: number): MatmulVariant {
  const file = 'matmul/matmul_subgroup_vec4.wgsl';
  return variant(`subgroup vec4 ${TM}×${4 * TV}`, ({ inputs: [, b], output, n, k }, LANES) => {
    if (LANES === undefined || output.offset % 4 !== 0) return undefined;
    if (vectorDirection(b, k, n) !== 'row') return undefined;
    return { file, rows: TM, columns: 4 * LANES * TV, consts: { TM, TV, LANES } };
  });
}

/** Tiles in workgroup memory, TK values of k at a time; vector loads, two buffers. */
function tiled(WX: number, WY: number, TM: number, TN: number, TK: number): MatmulVariant {
  const tile = { rows: WY * TM, columns: WX * TN, consts: { WX, WY, TM, TN, TK } };
  // Two buffers of f32; a row of a slice is padded by one vector.
  const bytes = 2 * 4 * (TK + 4) * (tile.rows + tile.columns);
  const name = `tiled ${tile.rows}×${tile.columns} of ${TM}×${TN}`;
  return variant(name, ({ inputs: [a, b], output, m, n, k }) => {
    const { limits } = output.storage.engine.device;
    const overrides = vectorOverrides(vectorDirection(a, m, k), vectorDirection(b, k, n));
    if (overrides === undefined || bytes > limits.maxComputeWorkgroupStorageSize) return undefined;
    return { file: 'matmul/matmul_tiled.wgsl', ...tile, overrides };
  });
}

/** Subgroup matrices are loaded 16 bytes at a time. */
const MATRIX_BYTES = 16;

/**
 * As `vectorDirection`, for matrices whose rows (or columns) do not overlap: Dawn rejects a stride below the width of a
 * subgroup matrix, such as that of a repeated row.
 */
function apart(x: Matrix, rows: number, columns: number, size: number): Direction {
  const direction = vectorDirection(x, rows, columns, size);
  const enough = direction === 'row' ? x.row >= columns : x.column >= rows;
  return enough ? direction : undefined;
}

/** TM × TN subgroup matrices per subgroup (tensor cores), with sums in f32. */
function matrices(TM: number, TN: number): MatmulVariant {
  return variant(`subgroup matrices ${TM}×${TN}`, ({ inputs: [a, b], output, m, n, k }, LANES) => {
    const matrix = output.storage.engine.adapter.subgroupMatrices.find(
      (one) => one.componentType === a.dtype && one.resultComponentType === 'f32',
    );
    if (LANES === undefined || matrix === undefined) return undefined;
    const { M, N, K } = matrix;
    const size = MATRIX_BYTES / ELEMENT_BYTES[a.dtype];
    const overrides = vectorOverrides(apart(a, m, k, size), apart(b, k, n, size));
    if (overrides === undefined || m < M || n < N || k % K !== 0) return undefined;
    const consts = { M, N, K, TM, TN, LANES };
    return { file: 'matmul/matmul_matrices.wgsl', rows: TM * M, columns: TN * N, consts, overrides };
  });
}

/** Copies B to dense rows first, for variants that load vectors of it: little work compared with many rows of A. */
function copying(base: MatmulVariant): MatmulVariant {
  const dense = (problem: MatmulProblem, b: Operand): MatmulProblem => {
    const [a, , bias] = problem.inputs;
    const rows = { ...b, row: problem.n, column: 1, batch: 0, batchOuter: 0 };
    return { ...problem, inputs: [a, rows, bias] };
  };
  return {
    name: `copying B, ${base.name}`,
    supports: (problem) =>
      problem.batch === 1 && base.supports(dense(problem, { ...problem.inputs[1], offset: 0 })),
    launch: (problem) => {
      const { storage, offset, dtype, row, column } = problem.inputs[1];
      const shape = [problem.k, problem.n];
      const b = new Tensor({ storage: storage.retain(), shape, strides: [row, column], offset, dtype });
      const copy = empty(storage.engine, shape, dtype);
      copyInto(b, copy, copy.strides, 0);
      base.launch(dense(problem, operandOf(copy)));
      b.dispose();
      copy.dispose();
    },
  };
}

/** Most elements of C for which one workgroup each pays. */
const MAX_VECTOR_RESULTS = 1 << 14;

/** One workgroup per element of C: a matrix times a vector, or a few of them. */
function vector(THREADS: number): MatmulVariant {
  const tile = { rows: 1, columns: 1, overrides: { THREADS, ROWS: 1 } };
  return variant(`vector ${THREADS}`, ({ m, n }) =>
    m * n <= MAX_VECTOR_RESULTS ? { file: 'matmul/matmul_vector.wgsl', ...tile } : undefined,
  );
}

/** Fewest values of k that are worth a separate part. */
const MIN_PART = 64;

/** Cuts the sum over k into `parts` that run in parallel, then adds them in order: for few results and long sums. */
function splitK(parts: number, base: MatmulVariant): MatmulVariant {
  const partial = (problem: MatmulProblem, output: Operand): MatmulProblem => {
    const [a, b] = problem.inputs;
    const part = problem.k / parts;
    const cut = [{ ...a, batch: part * a.column }, { ...b, batch: part * b.row }, undefined] as const;
    return { ...problem, inputs: cut, output, k: part, batch: parts, batchInner: parts };
  };
  return {
    name: `split-K ${parts}, ${base.name}`,
    supports: (problem) => {
      const { batch, inputs, k, output } = problem;
      // The sum of the parts goes to the start of a buffer.
      if (output.offset !== 0 || batch !== 1 || inputs[2] !== undefined) return false;
      return k % parts === 0 && k / parts >= MIN_PART && base.supports(partial(problem, output));
    },
    launch: (problem) => {
      const { m, n, output } = problem;
      const sums = empty(output.storage.engine, [parts, m, n]);
      base.launch(partial(problem, operandOf(sums)));
      sumPartsInto(sums, output.storage, output.dtype);
      sums.dispose();
    },
  };
}

const REGISTERS = {
  single: registers(8, 8, 1, 1),
  column: registers(8, 1, 8, 1),
  wide: registers(8, 1, 8, 4),
  small: registers(16, 8, 2, 2),
  large: registers(16, 8, 4, 8),
};
const SUBGROUP = { narrow: subgroup(16, 1), middle: subgroup(16, 4), wide: subgroup(16, 8) };
const SUBGROUP_VEC4 = { low: subgroupVec4(8, 1), middle: subgroupVec4(16, 1), wide: subgroupVec4(16, 2) };
const COPYING = { middle: copying(SUBGROUP_VEC4.middle), wide: copying(SUBGROUP_VEC4.wide) };
const TILED = {
  small: tiled(16, 16, 4, 4, 16),
  middle: tiled(16, 8, 8, 4, 16),
  high: tiled(16, 16, 8, 4, 16),
  large: tiled(16, 16, 8, 8, 8),
};

/** Products below which a kernel that compiles in half the time beats a faster one. */
const MIN_PRODUCTS = 1 << 20;
/** Fewest rows of A for which a copy of B pays. */
const MIN_ROWS_TO_COPY = 64;

/**
 * The variant without measurements. On a software device loads cost most, so operand rows are passed round by subgroup
 * shuffles. On a GPU large products go through workgroup memory, and smaller tiles give more invocations.
 */
function rule(problem: MatmulProblem): MatmulVariant {
  const { m, n, k, batch } = problem;
  const { engine } = problem.output.storage;
  if (engine.adapter.software) {
    if (engine.subgroupLanes === undefined) return n <= 8 ? REGISTERS.column : REGISTERS.wide;
    if (n <= engine.subgroupLanes) return m * n * k < MIN_PRODUCTS ? REGISTERS.column : SUBGROUP.narrow;
    const size = m * n >= 256 * 128 ? 'wide' : 'middle';
    if (SUBGROUP_VEC4[size].supports(problem)) return SUBGROUP_VEC4[size];
    return m >= MIN_ROWS_TO_COPY && COPYING[size].supports(problem) ? COPYING[size] : SUBGROUP[size];
  }
  if (batch * m * n <= 256 * 256) return REGISTERS.small;
  const tile = batch * m * n >= 1024 * 1024 ? TILED.large : TILED.small;
  return tile.supports(problem) ? tile : REGISTERS.large;
}

/** Layout of an operand: `n` with dense rows, `t` with dense columns, `s` with neither. */
function layoutOf(x: Matrix): string {
  return x.column === 1 ? 'n' : x.row === 1 ? 't' : 's';
}

export const MATMUL: Family<MatmulProblem> = {
  name: 'matmul',
  variants: [
    ...Object.values(REGISTERS),
    registers(16, 16, 4, 4),
    ...Object.values(SUBGROUP),
    ...Object.values(SUBGROUP_VEC4),
    subgroupVec4(24, 2),
    ...Object.values(COPYING),
    ...Object.values(TILED),
    matrices(1, 1),
    matrices(2, 2),
    matrices(4, 4),
    vector(64),
    vector(256),
    ...[4, 16].flatMap((parts) =>
      [REGISTERS.small, SUBGROUP.narrow, SUBGROUP_VEC4.middle, TILED.small].map((base) =>
        splitK(parts, base),
      ),
    ),
  ],
  rule,
  classOf: ({ inputs: [a, b], output, m, n, k, batch }) =>
    `${a.dtype}${output.dtype === a.dtype ? '' : ` to ${output.dtype}`} ${layoutOf(a)}${layoutOf(b)} ${[batch, m, n, k].map(sizeBucket).join('×')}`,
  flops: ({ m, n, k, batch }) => 2 * batch * m * n * k,
};
