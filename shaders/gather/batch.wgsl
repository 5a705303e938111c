// y[i] = order[(counter mod batches) · n + i], i < n: the indices of the next mini-batch, the counter kept on the device.
// One invocation per element.

struct Params {
  n: u32,
  offset: u32,
  counter_offset: u32,
  batches: u32,
}

@group(0) @binding(0) var<storage, read> order: array<u32>;
@group(0) @binding(1) var<storage, read> counter: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.n) {
    let first = (counter[params.counter_offset] % params.batches) * params.n;
    y[id.x] = order[params.offset + first + id.x];
  }
}
