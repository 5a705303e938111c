// Operands of the matrix products: strided A [b, m, k] and B [b, k, n], bias [n], dense C [b, m, n].

struct Params {
  m: u32,
  n: u32,
  k: u32,
  // Batch b of A starts at offset_a + (b / batch_inner) · batch_a_outer + (b % batch_inner) · batch_a, and so for B.
  batch_inner: u32,
  offset_a: u32,
  offset_b: u32,
  batch_a: u32,
  batch_a_outer: u32,
  batch_b: u32,
  batch_b_outer: u32,
  row_a: u32,
  col_a: u32,
  row_b: u32,
  col_b: u32,
  offset_bias: u32,
  // Lanes of a subgroup for the variants that use one: a bound that is no constant keeps compilers from unrolling, which
  // there costs minutes and gains nothing.
  lanes: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
