// C[b, m, n] = Σ_k A[b, m, k] · B[b, k, n] (+ bias[n]) for long sums and few results, such as a matrix times a vector.
//
// A workgroup of THREADS invocations computes one element of C: each sums every THREADS-th product, and their sums are
// added in a tree. Neighbours read neighbouring k: best where A lies dense along k and so does B, or B is one column.

//!include lib/matmul.wgsl
//!include lib/reduce.wgsl

@compute @workgroup_size(THREADS, ROWS)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let group = id + params.origin;
  let batch = group.z;
  let outer = batch / params.batch_inner;
  let inner = batch % params.batch_inner;
  let element = row_index(group, local, groups);
  let row = element / params.n;
  let column = element % params.n;
  let base_a = params.offset_a + outer * params.batch_a_outer + inner * params.batch_a;
  let base_b = params.offset_b + outer * params.batch_b_outer + inner * params.batch_b;
  let at_a = base_a + min(row, params.m - 1u) * params.row_a;
  let at_b = base_b + column * params.col_b;
  var sum = 0.0;
  for (var k = local.x; k < params.k; k += THREADS) {
    sum = fma(f32(a[at_a + k * params.col_a]), f32(b[at_b + k * params.row_b]), sum);
  }
  sum = workgroup_sum(sum, local.x);
  if (local.x == 0u) {
    store_c(batch, row, column, sum + load_bias(column));
  }
}
