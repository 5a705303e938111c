// Operands of the matrix products: strided A [b, m, k] and B [b, k, n], bias [n], dense C [b, m, n].
//!include lib/matmul_params.wgsl

@group(0) @binding(0) var<storage, read> a: array<Real>;
@group(0) @binding(1) var<storage, read> b: array<Real>;
@group(0) @binding(2) var<storage, read> bias: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<Result>;

fn load_bias(column: u32) -> f32 {
  let value = f32(bias[params.offset_bias + min(column, params.n - 1u) * params.has_bias]);
  return select(0.0, value, params.has_bias == 1u);
}

fn store_c(batch: u32, row: u32, column: u32, value: f32) {
  if (row < params.m && column < params.n) {
    c[params.offset_c + (batch * params.m + row) * params.n + column] = Result(value);
  }
}
