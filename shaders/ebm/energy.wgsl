// energy[r] = -f(x_r) and gradient[r, k] = ∂ energy[r] / ∂ x[r, k] for latents x [rows, D]. One workgroup per row.
//!include lib/energy.wgsl

@group(0) @binding(2) var<storage, read_write> energy: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let lane = local.x;
  let wanted = group.y * groups.x + group.x;
  let row = min(wanted, params.rows - 1u);
  load_latent(params, row, lane);
  workgroupBarrier();
  run_layers(params, lane);
  let f = output(params, lane);
  run_back(params, lane);
  if (wanted == row) {
    if (lane == 0u) {
      energy[row] = -f;
    }
    for (var k = lane; k < D; k += THREADS) {
      gradient[row * D + k] = -gradient_of_input(params, k);
    }
  }
}
