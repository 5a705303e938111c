// Tree reductions over one workgroup of THREADS invocations (a power of two), in a fixed order: the same bits each
// time. With THREADS = 1 they cost nothing. Every invocation of the workgroup must call them.
//!include lib/nan.wgsl

override THREADS: u32 = 1u;

// An invocation sums blocks of this many elements, then the sums: rounding grows with the longest chain of additions.
const BLOCK = 64u;

var<workgroup> scratch: array<f32, THREADS>;

fn workgroup_sum(value: f32, lane: u32) -> f32 {
  if (THREADS == 1u) {
    return value;
  }
  workgroupBarrier();
  scratch[lane] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      scratch[lane] += scratch[lane + half];
    }
  }
  workgroupBarrier();
  return scratch[0];
}

fn workgroup_max(value: f32, lane: u32) -> f32 {
  if (THREADS == 1u) {
    return value;
  }
  workgroupBarrier();
  scratch[lane] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      scratch[lane] = larger(scratch[lane], scratch[lane + half]);
    }
  }
  workgroupBarrier();
  return scratch[0];
}

// Row of this workgroup (or, with THREADS = 1, of this invocation). Rows are spread over workgroups in x and y.
override ROWS: u32 = 64u;

fn row_index(group: vec3u, local: vec3u, groups: vec3u) -> u32 {
  return (group.y * groups.x + group.x) * ROWS + local.y;
}
