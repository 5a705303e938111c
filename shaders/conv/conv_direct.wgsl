// C[m, column] = Σ_k A[m, k] · X(column, k) (+ bias[m]): the three passes of a convolution, see lib/conv.wgsl.
//
// Each invocation keeps TM × TN of C in registers and walks k; no workgroup memory. With TM = 1 this is the direct
// form for depthwise convolutions, where a group has one row and nothing is shared between rows. A workgroup of WX
// invocations covers TM rows and WX · TN columns.

//!include lib/conv.wgsl

const TM: u32 = 4u;
const TN: u32 = 4u;

override WX: u32 = 8u;

@compute @workgroup_size(WX)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let tile = tile_of(id, groups);
  let m0 = tile.y * TM;
  let column0 = tile.x * (WX * TN) + local.x;
  let base_x = params.offset_x + i32(tile.z) * params.group_x;
  let base_a = params.offset_a + i32(tile.z) * params.group_a;
  let base_c = params.offset_c + i32(tile.z) * params.group_c + i32(tile.w) * params.part_c;

  var columns: array<vec4i, TN>;
  var at_a: array<i32, TM>;
  var acc: array<array<f32, TN>, TM>;
  for (var j = 0u; j < TN; j++) {
    columns[j] = column_place(min(column0 + j * WX, params.columns - 1u));
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
  for (var k = first; k < end; k++) {
    let place = k_place(k);
    var from_x: array<f32, TN>;
    for (var j = 0u; j < TN; j++) {
      from_x[j] = load_x(base_x, columns[j], place.xyz);
    }
    for (var i = 0u; i < TM; i++) {
      let from_a = f32(a[at_a[i] + place.w]);
      for (var j = 0u; j < TN; j++) {
        acc[i][j] = fma(from_a, from_x[j], acc[i][j]);
      }
    }
  }

  for (var i = 0u; i < TM; i++) {
    for (var j = 0u; j < TN; j++) {
      let column = column0 + j * WX;
      if (m0 + i < params.m && column < params.columns) {
        c[base_c + i32(m0 + i) * params.row_c + columns[j].w] = Result(acc[i][j]);
      }
    }
  }
}
