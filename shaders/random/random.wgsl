// y[i] from word i % 4 of philox(counter = (i / 4, step, stream, 0), key = seed):
//   bits: the 32 bits      uniform: low + (high - low) · u, u uniform in [0, 1)      normal: low + high · normal
// `step` comes from Params, plus step_buffer[0] when STEPPED = 1 (a counter on the device, for captured programs).
// One invocation computes four elements.
//!include lib/index.wgsl
//!include lib/philox.wgsl

override KIND: u32 = 0u;
// Values of KIND; src/tensor/random.ts has the same names and numbers.
const KIND_BITS = 0u;
const KIND_UNIFORM = 1u;
const KIND_NORMAL = 2u;
override STEPPED: u32 = 0u;

struct Params {
  n: u32,
  stream: u32,
  step: u32,
  seed_low: u32,
  seed_high: u32,
  low: f32,
  high: f32,
}

@group(0) @binding(0) var<storage, read> step_buffer: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let quad = flat_index(id, groups);
  let first = quad * 4u;
  if (first >= params.n) {
    return;
  }
  var step = params.step;
  if (STEPPED == 1u) {
    step += step_buffer[0];
  }
  let words = philox(vec4u(quad, step, params.stream, 0u), vec2u(params.seed_low, params.seed_high));
  var out = words;
  if (KIND == KIND_UNIFORM) {
    let u = vec4f(unit(words.x), unit(words.y), unit(words.z), unit(words.w));
    out = bitcast<vec4u>(params.low + (params.high - params.low) * u);
  } else if (KIND == KIND_NORMAL) {
    let z = vec4f(normal_pair(words.x, words.y), normal_pair(words.z, words.w));
    out = bitcast<vec4u>(params.low + params.high * z);
  }
  for (var j = 0u; j < 4u; j++) {
    let i = first + j;
    if (i < params.n) {
      y[i] = out[j];
    }
  }
}
