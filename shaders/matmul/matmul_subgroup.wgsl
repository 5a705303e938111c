enable subgroups;
// C[b, m, n] = Σ_k A[b, m, k] · B[b, k, n] (+ bias[n]), k < K, for strided A and B; C is dense. As matmul.wgsl, for
// adapters on which a load costs much more than a subgroup shuffle (software drivers: about 30 cycles against 4).
//
// A subgroup of LANES invocations keeps a tile of TM rows × LANES · TN columns of C in registers. For LANES values of
// k at a time, each lane loads one of them of every row of A, and shuffles pass them to all lanes: TM loads instead of
// TM · LANES. One subgroup per workgroup. Needs subgroups of exactly LANES.

//!include lib/matmul.wgsl

const TM: u32 = 16u;
const TN: u32 = 4u;
const LANES: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = id + params.origin;
  let outer = group.z / params.batch_inner;
  let inner = group.z % params.batch_inner;
  let base_a = params.offset_a + outer * params.batch_a_outer + inner * params.batch_a;
  let base_b = params.offset_b + outer * params.batch_b_outer + inner * params.batch_b;
  let m0 = group.y * TM;
  let n0 = group.x * (LANES * TN) + local.x;

  var at_a: array<u32, TM>;
  var at_b: array<u32, TN>;
  var acc: array<array<f32, TN>, TM>;
  for (var i = 0u; i < TM; i++) {
    at_a[i] = base_a + min(m0 + i, params.m - 1u) * params.row_a;
  }
  for (var j = 0u; j < TN; j++) {
    let column = min(n0 + j * LANES, params.n - 1u);
    at_b[j] = base_b + column * params.col_b;
    let start = load_bias(column);
    for (var i = 0u; i < TM; i++) {
      acc[i][j] = start;
    }
  }

  for (var k0 = 0u; k0 < params.k; k0 += LANES) {
    let at_k = min(k0 + local.x, params.k - 1u) * params.col_a;
    var from_a: array<f32, TM>;
    for (var i = 0u; i < TM; i++) {
      from_a[i] = f32(a[at_a[i] + at_k]);
    }
    let count = min(params.lanes, params.k - k0);
    for (var l = 0u; l < count; l++) {
      let row = (k0 + l) * params.row_b;
      var from_b: array<f32, TN>;
      for (var j = 0u; j < TN; j++) {
        from_b[j] = f32(b[at_b[j] + row]);
      }
      // Rows outside, columns inside: a shuffle then serves a whole row of the tile, which software drivers run a
      // quarter to a half faster than the other way round.
      for (var i = 0u; i < TM; i++) {
        let a_il = subgroupShuffle(from_a[i], l);
        for (var j = 0u; j < TN; j++) {
          acc[i][j] = fma(a_il, from_b[j], acc[i][j]);
        }
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
      store_c(group.z, row, n0 + j * LANES, value);
    }
  }
}
