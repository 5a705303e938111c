// losses[counter[0]] = loss; counter[0] += 1: the end of a training step on the device. One invocation.

struct Params {
  offset: u32,
}

@group(0) @binding(0) var<storage, read> loss: array<f32>;
@group(0) @binding(1) var<storage, read_write> losses: array<f32>;
@group(0) @binding(2) var<storage, read_write> counter: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  losses[counter[0]] = loss[params.offset];
  counter[0] += 1u;
}
