import { sub } from '../ops/binary.ts';
import { matmul } from '../ops/matmul.ts';
import { mean } from '../ops/reduce.ts';
import { slice, transpose } from '../ops/views.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Rows that one matrix product takes: sums of this length are in f32, their total is in float64. */
const ROWS = 4096;

/** Mean of the rows: [n, d] → [d]. */
export async function meanRow(x: Tensor): Promise<Float32Array<ArrayBuffer>> {
  const row = x.engine.tidy(() => mean(x, 0));
  try {
    return await row.readFloats();
  } finally {
    row.dispose();
  }
}

/**
 * Σᵢ (xᵢ − mean x)ᵀ (yᵢ − mean y) over the rows of x [n, d] and y [n, e] → [d, e] row-major. The products are the
 * engine's, on centred values so that f32 suffices; pieces of 4,096 rows are added in float64.
 */
export async function scatter(x: Tensor, y: Tensor): Promise<Float64Array> {
  const { engine } = x;
  const [n, d] = x.shape as [number, number];
  const total = new Float64Array(d * y.shape[1]!);
  const means = [x, y].map((t) => engine.tidy(() => mean(t, 0, true)));
  try {
    for (let first = 0; first < n; first += ROWS) {
      const end = Math.min(first + ROWS, n);
      const product = engine.tidy(() => {
        const [a, b] = [x, y].map((t, i) => sub(slice(t, 0, first, end), means[i]!));
        return matmul(transpose(a!), b!);
      });
      const values = await product.readFloats();
      product.dispose();
      for (let i = 0; i < total.length; i++) total[i]! += values[i]!;
    }
  } finally {
    for (const t of means) t.dispose();
  }
  return total;
}
