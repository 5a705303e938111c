enable subgroups;
// C[m, column] = Σ_k A[m, k] · X(column, k) (+ bias[m]): forward and input gradient of a convolution, see lib/conv.wgsl,
// for windows of several columns that overlap. For adapters on which a load costs much more than a subgroup shuffle
// (software drivers).
//
// Each of the LANES invocations of a subgroup keeps TM rows × a run of TN neighbouring positions of one image row. For
// each row of taps (a row of the window in one channel) it loads the ACROSS elements of X under the windows of its run
// once for all taps; the TM · KW weights are loaded one per lane and passed round by shuffles. The loop over rows of C
// is outside the one over taps, so that a row stays in registers for all taps. One subgroup per workgroup. Needs
// subgroups of exactly LANES.

//!include lib/conv.wgsl

const TM: u32 = 16u;
const TN: u32 = 4u;
const LANES: u32 = 8u;
// Taps of a row.
const KW: u32 = 3u;
// Columns of X from one position to the next, and from one tap to the next.
const STEP: u32 = 1u;
const TAP: u32 = 1u;
// 1: taps go to the left (input gradient), so that the last one meets the first element.
const FLIP: u32 = 0u;

const ACROSS: u32 = (TN - 1u) * STEP + (KW - 1u) * TAP + 1u;
// Weights a lane loads for a row of taps.
const SHARE: u32 = (TM * KW + LANES - 1u) / LANES;

alias Tile = array<array<f32, TN>, TM>;
alias Weights = array<f32, SHARE>;
alias Elements = array<f32, ACROSS>;

// Half of the rows, starting at `first`, for one row of taps: Mesa unrolls a loop only up to some cost, and a loop that is
// not unrolled indexes `acc` by a variable, which is about eight times as slow.
fn add_rows(
  acc: ptr<function, Tile>,
  first: u32,
  from_a: ptr<function, Weights>,
  from_x: ptr<function, Elements>,
) {
  for (var i = 0u; i < TM / 2u; i++) {
    for (var s = 0u; s < KW; s++) {
      let e = (first + i) * KW + s;
      let a_is = subgroupShuffle((*from_a)[e / LANES], e % LANES);
      for (var j = 0u; j < TN; j++) {
        (*acc)[first + i][j] = fma(a_is, (*from_x)[j * STEP + s * TAP], (*acc)[first + i][j]);
      }
    }
  }
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let tile = tile_of(id, groups);
  let m0 = tile.y * TM;
  let base_x = params.offset_x + i32(tile.z) * params.group_x;
  let base_a = params.offset_a + i32(tile.z) * params.group_a;
  let base_c = params.offset_c + i32(tile.z) * params.group_c;

  // The image row of the run and its first position. Runs of the last tile beyond the last row repeat that row.
  let runs = (params.grid_width + i32(TN) - 1) / i32(TN);
  let last_row = i32(params.columns) / params.grid_width - 1;
  let run = i32(tile.x * LANES + local.x);
  let row = divide(run, runs);
  let ox = (run - row * runs) * i32(TN);
  let place = position_place(min(row, last_row) * params.grid_width + ox);

  // Columns of the image row under the run, −1 outside the image.
  let left = place.z - select(0, i32((KW - 1u) * TAP), FLIP == 1u);
  var columns: array<i32, ACROSS>;
  for (var s = 0u; s < ACROSS; s++) {
    let column = left + i32(s);
    let column_in = u32(column) < u32(params.size[1]);
    columns[s] = select(-1, column, column_in);
  }
  var at_a: array<i32, SHARE>;
  for (var g = 0u; g < SHARE; g++) {
    let e = min(g * LANES + local.x, TM * KW - 1u);
    let tap = select(e % KW, KW - 1u - e % KW, FLIP == 1u);
    at_a[g] = base_a + i32(min(m0 + e / KW, params.m - 1u)) * params.row_a + i32(tap) * params.tap_strides[2];
  }

  var acc: Tile;
  for (var i = 0u; i < TM; i++) {
    var start = 0.0;
    if (BIAS == 1u) {
      start = f32(bias[params.offset_bias + tile.z * params.m + min(m0 + i, params.m - 1u)]);
    }
    for (var j = 0u; j < TN; j++) {
      acc[i][j] = start;
    }
  }

  let tap_rows = params.taps / params.taps_width;
  let count = i32(params.k) / params.taps_width;
  let image_x = base_x + place.x - place.z;
  var channel = 0;
  var tap_row = 0;
  for (var k = 0; k < count; k++) {
    let y = place.y + tap_row * params.tap[0];
    let row_in = u32(y) < u32(params.size[0]);
    let row_x = image_x + (channel * params.size[0] + tap_row * params.tap[0]) * params.size[1];
    var from_x: Elements;
    for (var s = 0u; s < ACROSS; s++) {
      let column_in = columns[s] >= 0;
      let inside = row_in && column_in;
      from_x[s] = select(0.0, f32(x[select(0, row_x + columns[s], inside)]), inside);
    }
    let tap_a = channel * params.tap_strides[0] + tap_row * params.tap_strides[1];
    var from_a: Weights;
    for (var g = 0u; g < SHARE; g++) {
      from_a[g] = f32(a[at_a[g] + tap_a]);
    }
    add_rows(&acc, 0u, &from_a, &from_x);
    add_rows(&acc, TM / 2u, &from_a, &from_x);
    let last = tap_row + 1 == tap_rows;
    tap_row = select(tap_row + 1, 0, last);
    channel = select(channel, channel + 1, last);
  }

  if (row <= last_row) {
    // One store in a loop of unknown length, with the row selected from the registers: software
    // drivers take some 10 ms to compile each store.
    let end = min(m0 + TM, params.m);
    for (var m = m0; m < end; m++) {
      for (var j = 0u; j < TN; j++) {
        var value = acc[0][j];
        for (var i = 1u; i < TM; i++) {
          value = select(value, acc[i][j], m0 + i == m);
        }
        if (ox + i32(j) < params.grid_width) {
          c[base_c + i32(m) * params.row_c + place.w + i32(j) * params.grid_strides[2]] = Result(value);
        }
      }
    }
  }
}
