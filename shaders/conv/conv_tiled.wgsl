// C[m, column] = Σ_k A[m, k] · X(column, k) (+ bias[m]): the three passes of a convolution, see lib/conv.wgsl. For GPUs.
//
// A workgroup of WX × WY invocations computes WY · TM rows × WX · TN columns; each invocation keeps TM × TN of them in
// registers. For TK values of k at a time the workgroup computes their positions, then loads both tiles into workgroup
// memory: an element of X and its bounds check serve all rows of the tile. An invocation loads X for one column only,
// so WX · WY must be a multiple of WX · TN (TN divides WY), and of TK.

//!include lib/conv.wgsl

const TM: u32 = 4u;
const TN: u32 = 4u;
const WX: u32 = 16u;
const WY: u32 = 8u;
const TK: u32 = 16u;

const THREADS: u32 = WX * WY;
const ROWS: u32 = WY * TM;
const COLUMNS: u32 = WX * TN;
// A row of the A tile is one longer, so that its columns, which are written side by side, fall into different banks.
const ROWS_APART: u32 = ROWS + 1u;

var<workgroup> places: array<vec4i, TK>;
var<workgroup> tile_a: array<f32, TK * ROWS_APART>;
var<workgroup> tile_x: array<f32, TK * COLUMNS>;

@compute @workgroup_size(WX, WY)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let tile = tile_of(id, groups);
  let m0 = tile.y * ROWS;
  let column0 = tile.x * COLUMNS;
  let base_x = params.offset_x + i32(tile.z) * params.group_x;
  let base_a = params.offset_a + i32(tile.z) * params.group_a;
  let base_c = params.offset_c + i32(tile.z) * params.group_c + i32(tile.w) * params.part_c;

  let load_column = index % COLUMNS;
  let column_to_load = column_place(min(column0 + load_column, params.columns - 1u));
  let load_k = index % TK;

  var acc: array<array<f32, TN>, TM>;
  for (var i = 0u; i < TM; i++) {
    var start = 0.0;
    if (BIAS == 1u) {
      start = f32(bias[params.offset_bias + tile.z * params.m + min(m0 + local.y * TM + i, params.m - 1u)]);
    }
    for (var j = 0u; j < TN; j++) {
      acc[i][j] = start;
    }
  }

  let first = tile.w * params.part;
  let end = min(first + params.part, params.k);
  for (var k0 = first; k0 < end; k0 += TK) {
    if (index < TK) {
      places[index] = k_place(min(k0 + index, end - 1u));
    }
    workgroupBarrier();
    let at_k = places[load_k].w;
    for (var r = index / TK; r < ROWS; r += THREADS / TK) {
      var value = 0.0;
      let k_inside = k0 + load_k;
      if (k_inside < end) {
        value = f32(a[base_a + i32(min(m0 + r, params.m - 1u)) * params.row_a + at_k]);
      }
      tile_a[load_k * ROWS_APART + r] = value;
    }
    for (var l = index / COLUMNS; l < TK; l += THREADS / COLUMNS) {
      var value = 0.0;
      let k_inside = k0 + l;
      if (k_inside < end) {
        value = load_x(base_x, column_to_load, places[l].xyz);
      }
      tile_x[l * COLUMNS + load_column] = value;
    }
    workgroupBarrier();
    for (var l = 0u; l < TK; l++) {
      var from_x: array<f32, TN>;
      for (var j = 0u; j < TN; j++) {
        from_x[j] = tile_x[l * COLUMNS + j * WX + local.x];
      }
      for (var i = 0u; i < TM; i++) {
        let from_a = tile_a[l * ROWS_APART + local.y * TM + i];
        for (var j = 0u; j < TN; j++) {
          acc[i][j] = fma(from_a, from_x[j], acc[i][j]);
        }
      }
    }
    workgroupBarrier();
  }

  for (var j = 0u; j < TN; j++) {
    let column = column0 + j * WX + local.x;
    if (column < params.columns) {
      let at_column = base_c + column_place(column).w;
      for (var i = 0u; i < TM; i++) {
        let row = m0 + local.y * TM + i;
        if (row < params.m) {
          c[at_column + i32(row) * params.row_c] = Result(acc[i][j]);
        }
      }
    }
  }
}
