// Operands of the convolution kernels. All three passes are one implicit matrix product per group of channels,
//   C[m, column] = Σ_k A[m, k] · X(column, k) (+ bias[m]),
// in which X is read in place from an image [n, c, height, width] (zero outside it): the element where the window of a
// *position* (n, oy, ox) meets a *tap* (c, a, b): row oy · step[0] + start[0] + a · tap[0], and likewise for columns with [1].
//   forward          m output channel, column position, k tap,      A weight,  X input
//   input gradient   m input channel,  column position, k tap,      A weight,  X output gradient, C spread by the stride
//   weight gradient  m output channel, column tap,      k position, A output gradient, X input
// The input gradient of a stride s is s² such products: the rows and columns of one remainder modulo s meet only every
// s-th tap, so nothing is multiplied by zeros in between.
// References: implicit GEMM of Chetlur et al., cuDNN, arXiv 1410.0759; gradients by Dumoulin & Visin, arXiv 1603.07285.
//!include lib/divide.wgsl

// Storage types of A, X and bias, and of C: f32, or f16 with sums in f32.
alias Real = f32;
alias Result = f32;

struct Params {
  m: u32,
  columns: u32,
  k: u32,
  // A part of the sum over k: `part` values; part p of C starts at p · part_c.
  part: u32,
  parts: u32,
  row_tiles: u32,
  // Positions: oy · grid_width + ox within an image of `grid` positions.
  grid: i32,
  grid_width: i32,
  // Taps: a · taps_width + b within a channel of `taps` taps.
  taps: i32,
  taps_width: i32,
  // Rows and columns: of the image X, from one position to the next, of the first position, from one tap to the next.
  size: vec2i,
  step: vec2i,
  start: vec2i,
  tap: vec2i,
  // X: elements from one image, channel group to the next.
  image_x: i32,
  group_x: i32,
  offset_x: i32,
  // The tensor with one value per position: elements from one image, row, column to the next.
  grid_strides: vec3i,
  // The weights: elements from one channel, row, column of taps to the next.
  tap_strides: vec3i,
  row_a: i32,
  group_a: i32,
  offset_a: i32,
  row_c: i32,
  group_c: i32,
  part_c: i32,
  offset_c: i32,
  offset_bias: u32,
  // Lanes of a subgroup; a bound that is not a constant keeps compilers from unrolling.
  lanes: u32,
  // First workgroup of this dispatch: the engine splits one that has more than a device takes.
  origin: vec3u,
}

@group(0) @binding(0) var<storage, read> a: array<Real>;
@group(0) @binding(1) var<storage, read> x: array<Real>;
@group(0) @binding(2) var<storage, read> bias: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<Result>;
@group(0) @binding(4) var<uniform> params: Params;

// 1: columns are taps and k runs over positions (weight gradient); 0: the other way round.
override WEIGHT: u32 = 0u;
// Whether windows can reach outside the image.
override CHECK: u32 = 1u;
override BIAS: u32 = 0u;

// What a position or a tap adds to the index into X (x), to the row (y) and column (z) in the image, and to the
// index into its own tensor, A or C (w).
fn position_place(p: i32) -> vec4i {
  let n = divide(p, params.grid);
  let rest = p - n * params.grid;
  let oy = divide(rest, params.grid_width);
  let ox = rest - oy * params.grid_width;
  let row = oy * params.step[0] + params.start[0];
  let column = ox * params.step[1] + params.start[1];
  return vec4i(
    n * params.image_x + row * params.size[1] + column,
    row,
    column,
    n * params.grid_strides[0] + oy * params.grid_strides[1] + ox * params.grid_strides[2],
  );
}

fn tap_place(t: i32) -> vec4i {
  let channel = divide(t, params.taps);
  let rest = t - channel * params.taps;
  let i = divide(rest, params.taps_width);
  let j = rest - i * params.taps_width;
  let row = i * params.tap[0];
  let column = j * params.tap[1];
  return vec4i(
    channel * params.size[0] * params.size[1] + row * params.size[1] + column,
    row,
    column,
    channel * params.tap_strides[0] + i * params.tap_strides[1] + j * params.tap_strides[2],
  );
}

fn column_place(i: u32) -> vec4i {
  if (WEIGHT == 1u) {
    return tap_place(i32(i));
  }
  return position_place(i32(i));
}

fn k_place(i: u32) -> vec4i {
  if (WEIGHT == 1u) {
    return position_place(i32(i));
  }
  return tap_place(i32(i));
}

// X where a column meets a k; `base` is where the channel group of X starts.
fn load_x(base: i32, column: vec4i, k: vec3i) -> f32 {
  let at = base + column.x + k.x;
  if (CHECK == 0u) {
    return f32(x[at]);
  }
  let row_in = u32(column.y + k.y) < u32(params.size[0]);
  let column_in = u32(column.z + k.z) < u32(params.size[1]);
  let inside = row_in && column_in;
  return select(0.0, f32(x[select(0, at, inside)]), inside);
}

// Which tile a workgroup computes: column tile (x), row tile (y), group of channels (z), part of the sum (w). Column
// tiles beyond the limit of one dimension continue in y.
fn tile_of(id: vec3u, groups: vec3u) -> vec4u {
  let group = id + params.origin;
  let fold = group.y / params.row_tiles;
  return vec4u(
    group.x + fold * groups.x,
    group.y - fold * params.row_tiles,
    group.z / params.parts,
    group.z % params.parts,
  );
}
