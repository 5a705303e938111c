/** The engine: tensors, ops with gradients, captured programs, the choice of kernel variants. */
export { AbortError } from '../abort.ts';
export { detach, type GradOptions, grad, noGrad } from '../autograd/tape.ts';
export {
  type AutotuneOptions,
  autotune,
  type ClassTimings,
  loadTuning,
  type VariantTiming,
} from '../bench/autotune.ts';
export { EliError, type ErrorCode } from '../errors.ts';
export type { AdapterChoice, AdapterReport, SubgroupMatrix } from '../gpu/adapter.ts';
export { Engine, type EngineOptions, type KernelLaunch, type Launch } from '../gpu/engine.ts';
export type { PoolStats } from '../gpu/pool.ts';
export type { Program } from '../gpu/program.ts';
export type { KernelTime } from '../gpu/timer.ts';
export * from '../ops/all.ts';
export { checkNumerics } from '../ops/check-numerics.ts';
export {
  type Application,
  defineOp,
  type Op,
  type OpBasis,
  type OpDefinition,
  observeOps,
} from '../ops/core/define.ts';
export { empty, fill, full, tensor, zeros } from '../tensor/create.ts';
export type { NestedNumbers, TensorData } from '../tensor/numbers.ts';
export { permutation, type RandomSource, randomBits, randomNormal, randomUniform } from '../tensor/random.ts';
export type { Shape } from '../tensor/shape.ts';
export { type DType, type FloatDType, Tensor } from '../tensor/tensor.ts';
