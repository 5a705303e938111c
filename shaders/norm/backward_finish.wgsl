// Sums the parts of backward_sums.wgsl: dw[c] = Σ h x̂ and db[c] = Σ h, one after the other. One invocation per channel.
//!include lib/index.wgsl

struct Params {
  channels: u32,
  parts: u32,
}

@group(0) @binding(0) var<storage, read> partial: array<vec2f>;
// dw, then db: [2, channels].
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let c = flat_index(id, groups);
  if (c >= params.channels) {
    return;
  }
  var total = vec2f();
  for (var p = 0u; p < params.parts; p++) {
    total += partial[c * params.parts + p];
  }
  sums[c] = total.y;
  sums[params.channels + c] = total.x;
}
