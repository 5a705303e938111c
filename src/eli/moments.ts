import type { Engine } from '../gpu/engine.ts';
import { sub } from '../ops/binary.ts';
import { matmul } from '../ops/matmul.ts';
import { mean } from '../ops/reduce.ts';
import { slice, transpose } from '../ops/views.ts';
import { withScope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Rows per matrix product: sums of this length are in f32, their total is in float64. */
const ROWS = 4096;

/** Mean of the rows: [n, d] → [d]. */
export function meanRow(x: Tensor): Promise<Float32Array<ArrayBuffer>> {
  return readOnce(x, () => mean(x, 0));
}

/**
 * Σᵢ (xᵢ − mean x)ᵀ (yᵢ − mean y) over the rows of x [n, d] and y [n, e] → [d, e] row-major. The products are computed on
 * the device, on centred values so that f32 suffices; blocks of 4,096 rows are added in float64.
 */
export function scatter(x: Tensor, y: Tensor): Promise<Float64Array> {
  const [n, d] = x.shape as [number, number];
  const total = new Float64Array(d * y.shape[1]!);
  return withScope(x.engine, async (scope) => {
    const means = [x, y].map((t) => scope.own(() => mean(t, 0, true)));
    for (let first = 0; first < n; first += ROWS) {
      const end = Math.min(first + ROWS, n);
      const values = await readOnce(x, () => {
        const [a, b] = [x, y].map((t, i) => sub(slice(t, 0, first, end), means[i]!));
        return matmul(transpose(a!), b!);
      });
      for (let i = 0; i < total.length; i++) total[i]! += values[i]!;
    }
    return total;
  });
}

/** Reads the tensor that `make` returns; it and all intermediate tensors are freed. */
export function readOnce(
  of: { readonly engine: Engine },
  make: () => Tensor,
): Promise<Float32Array<ArrayBuffer>> {
  return withScope(of.engine, (scope) => scope.own(make).readFloats());
}
