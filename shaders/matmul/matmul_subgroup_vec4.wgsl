enable subgroups;
// C[b, m, n] = Σ_k A[b, m, k] · B[b, k, n] (+ bias[n]), k < K, for B with dense rows; C is dense. As
// matmul_subgroup.wgsl, with B loaded by vectors of four, which cost little more than a single value there.
//
// A subgroup of LANES invocations keeps a tile of TM rows × 4 · LANES · TV columns of C in registers, four neighbouring
// columns per vector. The number of columns, the offset of B and its strides must be multiples of 4.

//!include lib/matmul_params.wgsl

@group(0) @binding(0) var<storage, read> a: array<Real>;
@group(0) @binding(1) var<storage, read> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read> bias: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<Result>>;

const TM: u32 = 16u;
const TV: u32 = 2u;
const LANES: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = id + params.origin;
  let outer = group.z / params.batch_inner;
  let inner = group.z % params.batch_inner;
  let base_a = params.offset_a + outer * params.batch_a_outer + inner * params.batch_a;
  let base_b = params.offset_b + outer * params.batch_b_outer + inner * params.batch_b;
  let m0 = group.y * TM;
  let n0 = (group.x * (LANES * TV) + local.x) * 4u;

  var at_a: array<u32, TM>;
  var at_b: array<u32, TV>;
  var acc: array<array<vec4f, TV>, TM>;
  for (var i = 0u; i < TM; i++) {
    at_a[i] = base_a + min(m0 + i, params.m - 1u) * params.row_a;
  }
  for (var j = 0u; j < TV; j++) {
    let column = min(n0 + j * (4u * LANES), params.n - 4u);
    at_b[j] = (base_b + column) / 4u;
    var start = vec4f();
    for (var v = 0u; v < 4u; v++) {
      let value = f32(bias[params.offset_bias + (column + v) * params.has_bias]);
      start[v] = select(0.0, value, params.has_bias == 1u);
    }
    for (var i = 0u; i < TM; i++) {
      acc[i][j] = start;
    }
  }

  let row_b = params.row_b / 4u;
  for (var k0 = 0u; k0 < params.k; k0 += LANES) {
    let at_k = min(k0 + local.x, params.k - 1u) * params.col_a;
    var from_a: array<f32, TM>;
    for (var i = 0u; i < TM; i++) {
      from_a[i] = f32(a[at_a[i] + at_k]);
    }
    let count = min(params.lanes, params.k - k0);
    for (var l = 0u; l < count; l++) {
      let row = (k0 + l) * row_b;
      var from_b: array<vec4f, TV>;
      for (var j = 0u; j < TV; j++) {
        from_b[j] = vec4f(b[at_b[j] + row]);
      }
      for (var i = 0u; i < TM; i++) {
        let a_il = vec4f(subgroupShuffle(from_a[i], l));
        for (var j = 0u; j < TV; j++) {
          acc[i][j] = fma(a_il, from_b[j], acc[i][j]);
        }
      }
    }
  }

  // One store in a loop of unknown length, with the row selected from the registers: software drivers
  // take some 17 ms to compile each store of a vector.
  let end = min(m0 + TM, params.m);
  for (var row = m0; row < end; row++) {
    for (var j = 0u; j < TV; j++) {
      var value = acc[0][j];
      for (var i = 1u; i < TM; i++) {
        value = select(value, acc[i][j], m0 + i == row);
      }
      let column = n0 + j * (4u * LANES);
      if (column < params.n) {
        c[(params.offset_c + (group.z * params.m + row) * params.n + column) / 4u] = vec4<Result>(value);
      }
    }
  }
}
