/** Goals of this project: how many times as long a library takes, at least. On 2 CPU cores with llvmpipe. */
const GOALS: readonly { workload: string; library: string; ratio: number }[] = [
  { workload: 'ELI iteration, d = 32', library: '@jax-js/jax webgpu', ratio: 30 },
  { workload: 'ELI iteration, d = 32', library: 'tfjs-backend-webgpu', ratio: 150 },
  { workload: 'ELI iteration, d = 32', library: '@jax-js/jax wasm', ratio: 4 },
  { workload: 'ELI iteration, d = 32', library: 'PyTorch CPU, autograd', ratio: 1.5 },
  { workload: 'ELI iteration, d = 512', library: 'PyTorch CPU, autograd', ratio: 1.5 },
  { workload: 'matmul', library: 'tfjs-backend-webgpu', ratio: 3 },
  { workload: 'MLP', library: '@jax-js/jax webgpu', ratio: 3.5 },
];

/** The goal beside a library, whichever way it does the workload. */
export function goalOf(workload: string, library: string): number | undefined {
  return GOALS.find((goal) => workload.startsWith(goal.workload) && library.startsWith(goal.library))?.ratio;
}
