// Targets of mixed images: y[i, k] = λ_i [labels[i] = k] + (1 − λ_i) [labels[i + 1] = k], i + 1 modulo n, with the λ_i of
// augment.wgsl for the same step, stream and seed. A label that is not below the number of classes is reported. One invocation per element.
//!include lib/index.wgsl
//!include lib/augment.wgsl
//!include lib/faults.wgsl

override STEPPED: u32 = 0u;

struct Params {
  n: u32,
  classes: u32,
  labels_offset: u32,
  step_offset: u32,
  step: u32,
  stream: u32,
  seed_low: u32,
  seed_high: u32,
  inverse_alpha: f32,
  fault: u32,
}

@group(0) @binding(0) var<storage, read> labels: array<u32>;
@group(0) @binding(1) var<storage, read> step_buffer: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>, 5>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let flat = flat_index(id, groups);
  let total = params.n * params.classes;
  if (flat >= total) {
    return;
  }
  var step = params.step;
  if (STEPPED == 1u) {
    step += step_buffer[params.step_offset];
  }
  let i = flat / params.classes;
  let k = flat - i * params.classes;
  let next = select(i + 1u, 0u, i + 1u == params.n);
  let source = Source(step, params.stream, vec2u(params.seed_low, params.seed_high));
  let share = mix_share(draw(source, i, PURPOSE_MIX), params.inverse_alpha);
  let label = labels[params.labels_offset + i];
  if (label >= params.classes && k == 0u) {
    report_index(label, params.classes);
  }
  let own = select(0.0, share, label == k);
  let other = select(0.0, 1.0 - share, labels[params.labels_offset + next] == k);
  y[flat] = own + other;
}
