// losses[counter mod places] = loss; counter += 1: the end of a training step on the device. One invocation.

struct Params {
  offset: u32,
  losses_offset: u32,
  counter_offset: u32,
  places: u32,
}

@group(0) @binding(0) var<storage, read> loss: array<f32>;
@group(0) @binding(1) var<storage, read_write> losses: array<f32>;
@group(0) @binding(2) var<storage, read_write> counter: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  let step = counter[params.counter_offset];
  losses[params.losses_offset + step % params.places] = loss[params.offset];
  counter[params.counter_offset] = step + 1u;
}
