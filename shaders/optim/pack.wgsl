// packed[place_s + i] = source_s[start_s + i], i < size_s, for up to six sources in one dispatch: gathers the gradients of
// separate parameters into one flat buffer. Sources are dense; start and place are multiples of 4, and what follows a
// source up to the next multiple of 4 is zero. One invocation per four elements, of all sources together.
//!include lib/index.wgsl

struct Params {
  // Elements.
  sizes: array<vec4u, 2>,
  // Fours of elements.
  start: array<vec4u, 2>,
  place: array<vec4u, 2>,
  // Sources; compilers do not know how many, and so do not unroll the search.
  count: u32,
}

@group(0) @binding(0) var<storage, read> source0: array<vec4f>;
@group(0) @binding(1) var<storage, read> source1: array<vec4f>;
@group(0) @binding(2) var<storage, read> source2: array<vec4f>;
@group(0) @binding(3) var<storage, read> source3: array<vec4f>;
@group(0) @binding(4) var<storage, read> source4: array<vec4f>;
@group(0) @binding(5) var<storage, read> source5: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> packed: array<vec4f>;
@group(0) @binding(7) var<uniform> params: Params;

fn load(source: u32, at: u32) -> vec4f {
  switch source {
    case 0u: { return source0[at]; }
    case 1u: { return source1[at]; }
    case 2u: { return source2[at]; }
    case 3u: { return source3[at]; }
    case 4u: { return source4[at]; }
    default: { return source5[at]; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  var i = flat_index(id, groups);
  var s = 0u;
  while (s + 1u < params.count && i >= (dim(params.sizes, s) + 3u) / 4u) {
    i -= (dim(params.sizes, s) + 3u) / 4u;
    s++;
  }
  let size = dim(params.sizes, s);
  if (4u * i < size) {
    let inside = vec4u(0u, 1u, 2u, 3u) + vec4u(4u * i) < vec4u(size);
    packed[dim(params.place, s) + i] = select(vec4f(), load(s, dim(params.start, s) + i), inside);
  }
}
