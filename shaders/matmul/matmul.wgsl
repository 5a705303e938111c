// C[b, m, n] = Σ_k A[b, m, k] · B[b, k, n] (+ bias[n]), k < K, for strided A and B; C is dense.
//
// Each invocation keeps a TM × TN tile of C in registers and walks K; no workgroup memory. A workgroup of WX × WY
// invocations covers WX·TN columns and WY·TM rows; columns of one invocation lie WX apart, so that neighbouring
// invocations load neighbouring columns. Rows and columns past the end load the last one and are not stored.
// A, B and bias may share a buffer; C may not.

//!include lib/matmul.wgsl

const TM: u32 = 4u;
const TN: u32 = 4u;

override WX: u32 = 8u;
override WY: u32 = 8u;

@compute @workgroup_size(WX, WY)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = id + params.origin;
  let outer = group.z / params.batch_inner;
  let inner = group.z % params.batch_inner;
  let base_a = params.offset_a + outer * params.batch_a_outer + inner * params.batch_a;
  let base_b = params.offset_b + outer * params.batch_b_outer + inner * params.batch_b;
  let m0 = (group.y * WY + local.y) * TM;
  let n0 = group.x * (WX * TN) + local.x;

  var at_a: array<u32, TM>;
  var at_b: array<u32, TN>;
  var acc: array<array<f32, TN>, TM>;
  for (var i = 0u; i < TM; i++) {
    at_a[i] = base_a + min(m0 + i, params.m - 1u) * params.row_a;
  }
  for (var j = 0u; j < TN; j++) {
    at_b[j] = base_b + min(n0 + j * WX, params.n - 1u) * params.col_b;
    let start = load_bias(n0 + j * WX);
    for (var i = 0u; i < TM; i++) {
      acc[i][j] = start;
    }
  }

  for (var k = 0u; k < params.k; k++) {
    var from_b: array<f32, TN>;
    for (var j = 0u; j < TN; j++) {
      from_b[j] = f32(b[at_b[j] + k * params.row_b]);
    }
    for (var i = 0u; i < TM; i++) {
      let from_a = f32(a[at_a[i] + k * params.col_a]);
      for (var j = 0u; j < TN; j++) {
        acc[i][j] = fma(from_a, from_b[j], acc[i][j]);
      }
    }
  }

  // One store in a loop of unknown length, with the row selected from the registers: software drivers
  // take some 10 ms to compile each store.
  let end = min(m0 + TM, params.m);
  for (var row = m0; row < end; row++) {
    for (var j = 0u; j < TN; j++) {
      var value = acc[0][j];
      for (var i = 1u; i < TM; i++) {
        value = select(value, acc[i][j], m0 + i == row);
      }
      store_c(group.z, row, n0 + j * WX, value);
    }
  }
}
