// Sizes and strides of the matrix products C[b, m, n] = Σ_k A[b, m, k] · B[b, k, n] (+ bias[n]).

// Storage types of A, B and bias, and of C: f32, or f16 with sums in f32.
alias Real = f32;
alias Result = f32;

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
  // Whether there is a bias; without one the binding holds another buffer. Not an override: compiling another pipeline
  // takes far longer than the selection.
  has_bias: u32,
  offset_bias: u32,
  offset_c: u32,
  // Lanes of a subgroup, for the variants that use one: a bound that is not a constant keeps compilers from unrolling, which
  // costs minutes there and gains nothing.
  lanes: u32,
  // First workgroup of this dispatch: the engine splits one that has more than a device takes.
  origin: vec3u,
}

@group(0) @binding(4) var<uniform> params: Params;
