// y[o, p] = scale · reduce over inner elements of x, where x is walked by two sets of strides: `outer` dimensions
// (kept) and `inner` dimensions (reduced). The inner elements are cut into `parts` of `part` elements; a second
// launch over y[outer, parts] finishes, so that sums of millions of elements stay accurate and parallel.
// OP is the reduction. ROWS × THREADS invocations: THREADS work on one output, ROWS outputs per workgroup.
//!include lib/divide.wgsl
//!include lib/index.wgsl
//!include lib/reduce.wgsl

// Storage types of x and y: f32, or f16 with f32 arithmetic.
alias Real = f32;
alias Result = f32;

override OP: u32 = 0u;
// Values of OP; src/ops/core/reduction.ts has the same names and numbers.
const OP_SUM = 0u;
const OP_MAX = 1u;

struct Params {
  outer_shape: array<vec4u, 2>,
  outer_stride: array<vec4u, 2>,
  inner_shape: array<vec4u, 2>,
  inner_stride: array<vec4u, 2>,
  outer_rank: u32,
  inner_rank: u32,
  outputs: u32,
  parts: u32,
  part: u32,
  inner: u32,
  offset: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read_write> y: array<Result>;
@group(0) @binding(2) var<uniform> params: Params;

fn locate_outer(index: u32) -> u32 {
  var at = params.offset;
  var rest = index;
  for (var d = params.outer_rank; d > 0u; d--) {
    let n = dim(params.outer_shape, d - 1u);
    let q = quotient(rest, n);
    at += (rest - q * n) * dim(params.outer_stride, d - 1u);
    rest = q;
  }
  return at;
}

fn locate_inner(index: u32) -> u32 {
  if (params.inner_rank == 1u) {
    return index * params.inner_stride[0].x;
  }
  var at = 0u;
  var rest = index;
  for (var d = params.inner_rank; d > 0u; d--) {
    let n = dim(params.inner_shape, d - 1u);
    let q = quotient(rest, n);
    at += (rest - q * n) * dim(params.inner_stride, d - 1u);
    rest = q;
  }
  return at;
}

@compute @workgroup_size(THREADS, ROWS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = row_index(group, local, groups);
  let lane = local.x;
  let live = row < params.outputs;
  let base = locate_outer(select(0u, row / params.parts, live));
  let start = (row % params.parts) * params.part;
  let end = select(start, min(start + params.part, params.inner), live);
  var value = 0.0;
  if (OP == OP_MAX) {
    value = special(MINUS_INFINITY_BITS, params.inner);
  }
  for (var first = start + lane; first < end; first += BLOCK * THREADS) {
    let last = min(first + BLOCK * THREADS, end);
    var subtotal = 0.0;
    for (var i = first; i < last; i += THREADS) {
      let v = f32(x[base + locate_inner(i)]);
      if (OP == OP_SUM) {
        subtotal += v;
      } else {
        value = larger(value, v);
      }
    }
    value += subtotal;
  }
  if (OP == OP_SUM) {
    value = workgroup_sum(value, lane);
  } else {
    value = workgroup_max(value, lane);
  }
  if (live && lane == 0u) {
    y[row] = Result(value * params.scale);
  }
}
