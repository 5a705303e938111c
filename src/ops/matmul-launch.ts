import type { SubgroupMatrix } from '../gpu/adapter.ts';
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
  type Variant,
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

/** The product of two tensors over `batch`, their common batch dimensions: at most two. */
export function matmulProblem(
  a: Tensor,
  b: Tensor,
  bias: Tensor | undefined,
  output: Tensor,
  batch: Shape,
): MatmulProblem {
  const matrix = (x: Tensor): Matrix => {
    const strides = broadcastStrides(x, [...batch, ...x.shape.slice(-2)]);
    const [batchOuter = 0, inner = 0] = [undefined, undefined, ...strides.slice(0, -2)].slice(-2);
    return {
      ...operandOf(x),
      row: strides.at(-2)!,
      column: strides.at(-1)!,
      batch: inner,
      batchOuter,
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

/** How a kernel cuts C: elements of C that one workgroup covers, and what sets its tile. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly consts?: Readonly<Record<string, number>>;
  readonly overrides?: Readonly<Record<string, number>>;
}

function run(file: string, problem: MatmulProblem, tile: Tile): void {
  const { m, n, k, output, batch } = problem;
  const [a, b, bias] = problem.inputs;
  const { engine } = output.storage;
  engine.run(file, {
    storages: [a.storage, b.storage, (bias ?? b).storage, output.storage],
    overrides: tile.overrides ?? {},
    consts: { ...tile.consts, ...storedAs({ Real: a.dtype, Result: output.dtype }) },
    params: {
      lanes: engine.subgroupLanes ?? 0,
      m,
      n,
      k,
      batch_inner: problem.batchInner,
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
}

type MatmulVariant = Variant<MatmulProblem>;

/** Tiles in registers only: WX × WY invocations of TM × TN. Any strides. */
function registers(WX: number, WY: number, TM: number, TN: number): MatmulVariant {
  const tile = { rows: WY * TM, columns: WX * TN, overrides: { WX, WY }, consts: { TM, TN } };
  return {
    name: `registers ${tile.rows}×${tile.columns} of ${TM}×${TN}`,
    supports: () => true,
    launch: (problem) => run('matmul/matmul.wgsl', problem, tile),
  };
}

/** One subgroup a tile of TM rows; operands go round by shuffles. */
function subgroup(TM: number, TN: number): MatmulVariant {
  return {
    name: `subgroup ${TM}×${TN}`,
    supports: ({ output }) => output.storage.engine.subgroupLanes !== undefined,
    launch: (problem) => {
      const LANES = problem.output.storage.engine.subgroupLanes!;
      run('matmul/matmul_subgroup.wgsl', problem, {
        rows: TM,
        columns: LANES * TN,
        consts: { TM, TN, LANES },
      });
    },
  };
}

/** Whether a matrix can be read by vectors of `size` along its dense direction; which one that is. */
function vectorDirection(x: Matrix, rows: number, columns: number, size = 4): 'row' | 'column' | undefined {
  if ([x.offset, x.batch, x.batchOuter].some((n) => n % size !== 0)) return undefined;
  if (x.column === 1 && columns % size === 0 && x.row % size === 0) return 'row';
  return x.row === 1 && rows % size === 0 && x.column % size === 0 ? 'column' : undefined;
}

/** As `subgroup`, for a B with dense rows: TV vectors of four columns a lane. */
function subgroupVec4(TM: number, TV: number): MatmulVariant {
  return {
    name: `subgroup vec4 ${TM}×${4 * TV}`,
    supports: ({ inputs: [, b], output, n, k }) =>
      output.storage.engine.subgroupLanes !== undefined &&
      output.offset % 4 === 0 &&
      vectorDirection(b, k, n) === 'row',
    launch: (problem) => {
      const LANES = problem.output.storage.engine.subgroupLanes!;
      run('matmul/matmul_subgroup_vec4.wgsl', problem, {
        rows: TM,
        columns: 4 * LANES * TV,
        consts: { TM, TV, LANES },
      });
    },
  };
}

/** Tiles in workgroup memory, TK values of k at a time; vector loads, two buffers. */
function tiled(WX: number, WY: number, TM: number, TN: number, TK: number): MatmulVariant {
  const rows = WY * TM;
  const columns = WX * TN;
  const directions = ({ inputs: [a, b], m, n, k }: MatmulProblem) =>
    [vectorDirection(a, m, k), vectorDirection(b, k, n)] as const;
  // Two buffers of f32; a row of a slice is one vector longer than it holds.
  const bytes = 2 * 4 * (TK + 4) * (rows + columns);
  return {
    name: `tiled ${rows}×${columns} of ${TM}×${TN}`,
    supports: (problem) =>
      !directions(problem).includes(undefined) &&
      problem.output.storage.engine.device.limits.maxComputeWorkgroupStorageSize >= bytes,
    launch: (problem) => {
      const [a, b] = directions(problem);
      run('matmul/matmul_tiled.wgsl', problem, {
        rows,
        columns,
        consts: { WX, WY, TM, TN, TK },
        overrides: { A_ALONG_K: a === 'row' ? 1 : 0, B_ALONG_K: b === 'column' ? 1 : 0 },
      });
    },
  };
}

/** The product of subgroup matrices that this engine has for operands of a type, with sums in f32. */
function subgroupMatrixOf({ inputs: [a], output }: MatmulProblem): SubgroupMatrix | undefined {
  const { adapter, subgroupLanes } = output.storage.engine;
  if (subgroupLanes === undefined) return undefined;
  return adapter.subgroupMatrices.find(
    (one) => one.componentType === a.dtype && one.resultComponentType === 'f32',
  );
}

/** Loads of subgroup matrices want 16 bytes at a time. */
const MATRIX_BYTES = 16;

/**
 * As `vectorDirection`, for matrices whose rows (or columns) do not overlap: Dawn raises a stride that is smaller than a
 * subgroup matrix is wide, such as that of a repeated row.
 */
function apart(x: Matrix, rows: number, columns: number, size: number): 'row' | 'column' | undefined {
  const direction = vectorDirection(x, rows, columns, size);
  const enough = direction === 'row' ? x.row >= columns : x.column >= rows;
  return enough ? direction : undefined;
}

/** One subgroup TM × TN subgroup matrices (tensor cores). */
function matrices(TM: number, TN: number): MatmulVariant {
  const directions = ({ inputs: [a, b], m, n, k }: MatmulProblem) => {
    const size = MATRIX_BYTES / ELEMENT_BYTES[a.dtype];
    return [apart(a, m, k, size), apart(b, k, n, size)] as const;
  };
  return {
    name: `subgroup matrices ${TM}×${TN}`,
    supports: (problem) => {
      const { m, n, k } = problem;
      const matrix = subgroupMatrixOf(problem);
      if (matrix === undefined || directions(problem).includes(undefined)) return false;
      return m >= matrix.M && n >= matrix.N && k % matrix.K === 0;
    },
    launch: (problem) => {
      const { M, N, K } = subgroupMatrixOf(problem)!;
      const LANES = problem.output.storage.engine.subgroupLanes!;
      const [a, b] = directions(problem);
      run('matmul/matmul_matrices.wgsl', problem, {
        rows: TM * M,
        columns: TN * N,
        consts: { M, N, K, TM, TN, LANES },
        overrides: { A_ALONG_K: a === 'row' ? 1 : 0, B_ALONG_K: b === 'column' ? 1 : 0 },
      });
    },
  };
}

/** Lays B out with dense rows first, for variants that load vectors of it: a small part of the work for many rows. */
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
      const { k, n } = problem;
      const { storage, offset, dtype, row, column } = problem.inputs[1];
      const b = new Tensor({
        storage: storage.retain(),
        shape: [k, n],
        strides: [row, column],
        offset,
        dtype,
      });
      const copy = empty(storage.engine, [k, n], dtype);
      copyInto(b, copy, copy.strides, 0);
      base.launch(dense(problem, operandOf(copy)));
      b.dispose();
      copy.dispose();
    },
  };
}

/** Elements of C for which a workgroup each can still pay. */
const MAX_VECTOR_RESULTS = 1 << 14;

/** A workgroup an element of C: a matrix times a vector, or a few of them. */
function vector(THREADS: number): MatmulVariant {
  return {
    name: `vector ${THREADS}`,
    supports: ({ m, n }) => m * n <= MAX_VECTOR_RESULTS,
    launch: (problem) =>
      run('matmul/matmul_vector.wgsl', problem, {
        rows: 1,
        columns: 1,
        overrides: { THREADS, ROWS: 1 },
      }),
  };
}

/** Values of k below which a part of a sum is not worth a separate pass. */
const MIN_PART = 64;

/** Cuts the sum over k into `parts` that run side by side, then adds them in order: for few results and long sums. */
function splitK(parts: number, base: MatmulVariant): MatmulVariant {
  const partial = (problem: MatmulProblem, output: Operand): MatmulProblem => {
    const { inputs, k } = problem;
    const [a, b] = inputs;
    const part = k / parts;
    const cut = [{ ...a, batch: part * a.column }, { ...b, batch: part * b.row }, undefined] as const;
    return { ...problem, inputs: cut, output, k: part, batch: parts, batchInner: parts };
  };
  return {
    name: `split-K ${parts}, ${base.name}`,
    supports: (problem) => {
      const { batch, inputs, k, output } = problem;
      // The sum of the parts goes to the start of a buffer.
      const cuts =
        output.offset === 0 &&
        batch === 1 &&
        inputs[2] === undefined &&
        k % parts === 0 &&
        k / parts >= MIN_PART;
      return cuts && base.supports(partial(problem, problem.output));
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

/** Products below which a kernel that compiles in half the time is worth more than a faster one. */
const MIN_PRODUCTS = 1 << 20;
/** Rows of A from which on a copy of B pays. */
const MIN_ROWS_TO_COPY = 64;

/**
 * Without measurements: on a software device loads cost most, so there the operand rows go round by subgroup shuffles.
 * On a GPU large products go through workgroup memory, and smaller tiles give more invocations.
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

/** How an operand lies: `n` with dense rows, `t` with dense columns, `s` with neither. */
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
