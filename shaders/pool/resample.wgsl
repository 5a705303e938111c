// A linear map along rows and along columns, from planes [height, width] to [out_height, out_width]:
//   y[plane, oy, ox] = Σ_iy Σ_ix w(oy, iy) w(ox, ix) x[plane, iy, ix]
// with weights of MODE, the same rule for both axes:
//   average of a moving window      w = 1 / count for the elements inside, count with or without padding (PyTorch)
//   adaptive                        window o from ⌊o·in / out⌋ to ⌈(o + 1)·in / out⌉, excluded
//   nearest                         w = 1 for i = ⌊o·in / out⌋
//   bilinear                        the two neighbours of max(o·scale + shift, 0)
// TRANSPOSED = 1 computes the transpose (the gradient): planes [out_height, out_width] to [height, width]. One
// invocation per element of the result; it loops over a range with every non-zero weight.
//!include lib/index.wgsl
//!include lib/divide.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

override MODE: u32 = 0u;
// Values of MODE; src/ops/resize.ts has the same names and numbers.
const MODE_AVERAGE = 0u;
const MODE_ADAPTIVE = 1u;
const MODE_NEAREST = 2u;
const MODE_BILINEAR = 3u;
override TRANSPOSED: u32 = 0u;

struct Params {
  n: u32,
  offset: i32,
  // x is rows, y columns.
  size: vec2i,
  out: vec2i,
  kernel: vec2i,
  stride: vec2i,
  padding: vec2i,
  scale: vec2f,
  shift: vec2f,
  // Whether padding counts in an average.
  include_padding: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read_write> y: array<Real>;
@group(0) @binding(2) var<uniform> params: Params;

// One axis of the map.
struct Axis {
  size: i32,
  out: i32,
  kernel: i32,
  stride: i32,
  padding: i32,
  scale: f32,
  shift: f32,
}

fn axis_of(d: u32) -> Axis {
  return Axis(
    params.size[d],
    params.out[d],
    params.kernel[d],
    params.stride[d],
    params.padding[d],
    params.scale[d],
    params.shift[d],
  );
}

fn place(axis: Axis, o: i32) -> f32 {
  return max(fma(f32(o), axis.scale, axis.shift), 0.0);
}

// Elements that output o may read: first and last.
fn inputs_of(axis: Axis, o: i32) -> vec2i {
  if (MODE == MODE_AVERAGE) {
    let start = o * axis.stride - axis.padding;
    return vec2i(max(start, 0), min(start + axis.kernel, axis.size) - 1);
  }
  if (MODE == MODE_ADAPTIVE) {
    return vec2i(divide(o * axis.size, axis.out), divide((o + 1) * axis.size - 1, axis.out));
  }
  if (MODE == MODE_NEAREST) {
    return vec2i(divide(o * axis.size, axis.out));
  }
  let at = min(i32(place(axis, o)), axis.size - 1);
  return vec2i(at, min(at + 1, axis.size - 1));
}

// Outputs that may read element i: first and last.
fn outputs_of(axis: Axis, i: i32) -> vec2i {
  if (MODE == MODE_AVERAGE) {
    let first = divide(max(i + axis.padding - axis.kernel, -1) + axis.stride, axis.stride);
    return vec2i(first, min(divide(i + axis.padding, axis.stride), axis.out - 1));
  }
  if (MODE == MODE_ADAPTIVE) {
    return vec2i(divide(i * axis.out, axis.size), divide((i + 1) * axis.out - 1, axis.size));
  }
  if (MODE == MODE_NEAREST) {
    return vec2i(
      divide(i * axis.out + axis.size - 1, axis.size),
      divide((i + 1) * axis.out + axis.size - 1, axis.size) - 1,
    );
  }
  let all = vec2i(0, axis.out - 1);
  if (axis.scale == 0.0) {
    return all;
  }
  // One to spare on both sides for rounding; the outermost elements also serve the places beyond them.
  let first = i32(floor((f32(i - 1) - axis.shift) / axis.scale)) - 1;
  let last = i32(ceil((f32(i + 1) - axis.shift) / axis.scale)) + 1;
  return vec2i(select(max(first, 0), 0, i == 0), select(min(last, all.y), all.y, i == axis.size - 1));
}

// w(o, i), where i is one of inputs_of(o) unless TRANSPOSED.
fn weight(axis: Axis, o: i32, i: i32) -> f32 {
  if (MODE == MODE_AVERAGE) {
    let start = o * axis.stride - axis.padding;
    let end = min(start + axis.kernel, axis.size + axis.padding);
    let inside = vec2i(max(start, 0), min(end, axis.size));
    let count = select(inside.y - inside.x, end - start, params.include_padding == 1u);
    return 1.0 / f32(count);
  }
  if (MODE == MODE_ADAPTIVE) {
    let range = inputs_of(axis, o);
    return 1.0 / f32(range.y - range.x + 1);
  }
  if (MODE == MODE_NEAREST) {
    return 1.0;
  }
  let at = place(axis, o);
  let low = min(i32(at), axis.size - 1);
  let high = min(low + 1, axis.size - 1);
  let fraction = at - f32(low);
  return select(0.0, 1.0 - fraction, i == low) + select(0.0, fraction, i == high);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let flat = flat_index(id, groups);
  if (flat >= params.n) {
    return;
  }
  let rows = axis_of(0u);
  let columns = axis_of(1u);
  let target_size = select(params.out, params.size, TRANSPOSED == 1u);
  let source_size = select(params.size, params.out, TRANSPOSED == 1u);
  let line = divide(i32(flat), target_size.y);
  let plane = divide(line, target_size.x);
  let at_y = line - plane * target_size.x;
  let at_x = i32(flat) - line * target_size.y;
  let base = params.offset + plane * source_size.x * source_size.y;
  var total = 0.0;
  if (TRANSPOSED == 1u) {
    let range_y = outputs_of(rows, at_y);
    let range_x = outputs_of(columns, at_x);
    for (var oy = range_y.x; oy <= range_y.y; oy++) {
      let w_y = weight(rows, oy, at_y);
      for (var ox = range_x.x; ox <= range_x.y; ox++) {
        total += w_y * weight(columns, ox, at_x) * f32(x[base + oy * source_size.y + ox]);
      }
    }
  } else {
    let range_y = inputs_of(rows, at_y);
    let range_x = inputs_of(columns, at_x);
    for (var iy = range_y.x; iy <= range_y.y; iy++) {
      let w_y = weight(rows, at_y, iy);
      for (var ix = range_x.x; ix <= range_x.y; ix++) {
        total += w_y * weight(columns, at_x, ix) * f32(x[base + iy * source_size.y + ix]);
      }
    }
  }
  y[flat] = Real(total);
}
