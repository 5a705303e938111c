// losses[counter mod places] = loss; counter += 1: the end of a training step on the device. An index that was out of
// range in this step (lib/faults.wgsl) gets its number. One invocation.

struct Params {
  offset: u32,
  losses_offset: u32,
  counter_offset: u32,
  places: u32,
}

@group(0) @binding(0) var<storage, read> loss: array<f32>;
@group(0) @binding(1) var<storage, read_write> losses: array<f32>;
@group(0) @binding(2) var<storage, read_write> counter: array<u32>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>, 5>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  let step = counter[params.counter_offset];
  losses[params.losses_offset + step % params.places] = loss[params.offset];
  counter[params.counter_offset] = step + 1u;
  if (atomicLoad(&faults[0]) > 0u && atomicLoad(&faults[4]) == 0u) {
    atomicStore(&faults[4], step + 1u);
  }
}
