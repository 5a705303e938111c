// Flat element index of kernels with one invocation per element, workgroups of 64 laid out in x and y.

const FLAT_WORKGROUP: u32 = 64u;

fn flat_index(global: vec3u, groups: vec3u) -> u32 {
  return global.y * (groups.x * FLAT_WORKGROUP) + global.x;
}

// Dimensions come as eight numbers in two vec4 (uniform arrays have elements of 16 bytes).
fn dim(v: array<vec4u, 2>, i: u32) -> u32 {
  return v[i >> 2u][i & 3u];
}
