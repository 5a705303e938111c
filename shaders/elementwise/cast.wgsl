// y[i] = Result(x[i]): between f32 and f16, or from u32 or i32. One invocation per element.
//!include lib/index.wgsl

alias Source = f32;
alias Result = f32;

struct Params {
  n: u32,
  offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Source>;
@group(0) @binding(1) var<storage, read_write> y: array<Result>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.n) {
    y[i] = Result(x[params.offset + i]);
  }
}
