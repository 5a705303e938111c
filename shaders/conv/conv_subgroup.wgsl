enable subgroups;
// C[m, column] = Σ_k A[m, k] · X(column, k) (+ bias[m]): the three passes of a convolution, see lib/conv.wgsl. For
// adapters on which a load costs much more than a subgroup shuffle (software drivers).
//
// A subgroup of LANES invocations keeps TM rows × LANES · TN columns of C in registers. For LANES values of k at a time
// each lane computes one position and loads one value of every row of A; shuffles pass them to all lanes. One subgroup
// per workgroup. Needs subgroups of exactly LANES.

//!include lib/conv.wgsl

const TM: u32 = 16u;
const TN: u32 = 4u;
const LANES: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let tile = tile_of(id, groups);
  let m0 = tile.y * TM;
  let column0 = tile.x * (LANES * TN) + local.x;
  let base_x = params.offset_x + i32(tile.z) * params.group_x;
  let base_a = params.offset_a + i32(tile.z) * params.group_a;
  let base_c = params.offset_c + i32(tile.z) * params.group_c + i32(tile.w) * params.part_c;

  var columns: array<vec4i, TN>;
  var at_a: array<i32, TM>;
  var acc: array<array<f32, TN>, TM>;
  for (var j = 0u; j < TN; j++) {
    columns[j] = column_place(min(column0 + j * LANES, params.columns - 1u));
  }
  for (var i = 0u; i < TM; i++) {
    let row = min(m0 + i, params.m - 1u);
    at_a[i] = base_a + i32(row) * params.row_a;
    var start = 0.0;
    if (BIAS == 1u) {
      start = f32(bias[params.offset_bias + tile.z * params.m + row]);
    }
    for (var j = 0u; j < TN; j++) {
      acc[i][j] = start;
    }
  }

  let first = tile.w * params.part;
  let end = min(first + params.part, params.k);
  for (var k0 = first; k0 < end; k0 += LANES) {
    let mine = k_place(min(k0 + local.x, end - 1u));
    var from_a: array<f32, TM>;
    for (var i = 0u; i < TM; i++) {
      from_a[i] = f32(a[at_a[i] + mine.w]);
    }
    let count = min(params.lanes, end - k0);
    for (var l = 0u; l < count; l++) {
      let k = vec3i(subgroupShuffle(mine.x, l), subgroupShuffle(mine.y, l), subgroupShuffle(mine.z, l));
      var from_x: array<f32, TN>;
      for (var j = 0u; j < TN; j++) {
        from_x[j] = load_x(base_x, columns[j], k);
      }
      for (var i = 0u; i < TM; i++) {
        let a_il = subgroupShuffle(from_a[i], l);
        for (var j = 0u; j < TN; j++) {
          acc[i][j] = fma(a_il, from_x[j], acc[i][j]);
        }
      }
    }
  }

  // One store in a loop of unknown length, with the row selected from the registers: software drivers
  // take some 10 ms to compile each store.
  let last = min(m0 + TM, params.m);
  for (var row = m0; row < last; row++) {
    for (var j = 0u; j < TN; j++) {
      var value = acc[0][j];
      for (var i = 1u; i < TM; i++) {
        value = select(value, acc[i][j], m0 + i == row);
      }
      if (column0 + j * LANES < params.columns) {
        c[base_c + i32(row) * params.row_c + columns[j].w] = Result(value);
      }
    }
  }
}
