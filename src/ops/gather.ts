import { faultNumber } from '../gpu/faults.ts';
import { empty, launch1d, zeros } from '../tensor/create.ts';
import { expectShape, showShape, sizeOf } from '../tensor/shape.ts';
import { checkDType, floatDType, movedAs, storedAs, type Tensor } from '../tensor/tensor.ts';
import { cast } from './core/cast.ts';
import { defineOp, EXACT, ROUNDING } from './core/define.ts';
import { build, valueAt } from './core/ndarray.ts';
import { contiguous } from './views.ts';

const gatherOp = defineOp<null>({
  name: 'gather',
  dense: true,
  forward: ([table, index]) => {
    const y = empty(table.engine, [...index.shape, ...table.shape.slice(1)], table.dtype);
    const width = sizeOf(table.shape.slice(1));
    const four = y.dtype !== 'f16' && width % 4 === 0 && table.offset % 4 === 0;
    const pack = four ? 4 : 1;
    launch1d(y.engine, 'gather/gather.wgsl', y.size / pack, {
      storages: [table.storage, index.storage, y.storage],
      consts: four ? { Element: 'vec4u' } : movedAs(y.dtype),
      params: {
        rows: index.size,
        width: width / pack,
        table_rows: table.shape[0],
        offset_table: table.offset / pack,
        offset_index: index.offset,
        fault: faultNumber('gather'),
      },
    });
    return y;
  },
  backward: ({ grad, inputs: [table, index] }) => [scatterAdd(grad, index, table.shape[0]), undefined],
  reference: ([table, index]) =>
    build([...index.shape, ...table.shape.slice(1)], ([i, ...at]) => valueAt(table, [index.data[i], ...at])),
  cases: [
    { inputs: [{ shape: [7, 5] }, { shape: [33], dtype: 'u32', below: 7 }], attrs: null },
    { inputs: [{ shape: [3, 2, 2] }, { shape: [1], dtype: 'u32', below: 3 }], attrs: null },
  ],
  bench: [{ inputs: [{ shape: [29_404, 32] }, { shape: [8192], dtype: 'u32', below: 29_404 }], attrs: null }],
  half: true,
  tolerance: EXACT,
  cost: (_, y) => ({ flops: 0, bytes: 8 * sizeOf(y) }),
});

const scatterAddOp = defineOp<{ rows: number }>({
  name: 'scatterAdd',
  dense: true,
  forward: ([x, index], { rows }) => {
    const y = zeros(x.engine, [rows, ...x.shape.slice(1)], x.dtype);
    launch1d(y.engine, 'gather/scatter_add.wgsl', x.size, {
      consts: storedAs({ Real: x.dtype }),
      storages: [x.storage, index.storage, y.storage],
      params: {
        rows: index.size,
        width: x.size / index.size,
        table_rows: rows,
        offset_index: index.offset,
        offset_x: x.offset,
        fault: faultNumber('scatterAdd'),
      },
    });
    return y;
  },
  backward: ({ grad, inputs: [, index] }) => [gather(grad, index), undefined],
  reference: ([x, index], { rows }) =>
    build([rows, ...x.shape.slice(1)], ([row, ...at]) =>
      index.data.reduce((sum, target, i) => (target === row ? sum + valueAt(x, [i, ...at]) : sum), 0),
    ),
  cases: [
    { inputs: [{ shape: [33, 5] }, { shape: [33], dtype: 'u32', below: 7 }], attrs: { rows: 7 } },
    { inputs: [{ shape: [1, 3] }, { shape: [1], dtype: 'u32', below: 1 }], attrs: { rows: 2 } },
  ],
  half: true,
  tolerance: ROUNDING,
});

/**
 * Rows of a table: table [r, ...d] of any dtype, index [n] (u32) → [n, ...d]. An index past the end of the table gives
 * a row of zeros, which `engine.checkIndices` reports. The gradient of the table is a scatter-add.
 * @throws EliError `DTYPE` unless the index is u32, `SHAPE` unless it is one-dimensional.
 */
export function gather(table: Tensor, index: Tensor): Tensor {
  checkIndex('gather', index);
  return gatherOp([contiguous(table), contiguous(index)], null);
}

/**
 * The rows of x [n, ...d] summed into `rows` rows by index [n] (u32) → [rows, ...d]; the order of addition is fixed. A row
 * with an index past the end is left out, which `engine.checkIndices` reports.
 * @throws EliError `DTYPE`, `SHAPE` unless there is one index per row.
 */
export function scatterAdd(x: Tensor, index: Tensor, rows: number): Tensor {
  checkIndex('scatterAdd', index);
  floatDType('scatterAdd', x);
  expectShape(
    'scatterAdd: the index',
    index.shape,
    [x.shape[0]],
    `one index per row of x ${showShape(x.shape)}`,
  );
  return scatterAddOp([contiguous(x), contiguous(index)], { rows });
}

function checkIndex(op: string, index: Tensor): void {
  checkDType(op, index, 'u32');
  expectShape(`${op}: the index`, index.shape, ['n']);
}

/** The numbers as f32: u32 and i32 exactly up to 2^24 and without a gradient, f16 exactly. */
export function toFloat(x: Tensor): Tensor {
  return cast(x, 'f32');
}
