/**
 * eli-webgpu: a WebGPU compute engine for Node with autodiff, and ELI, the energy-based latent aligner.
 *
 * Everything starts with `await Engine.create()`; tensors live on an engine, ops are plain functions, `engine.tidy`
 * frees what a stretch of code made, `engine.capture` turns a step into a program that is replayed.
 */
export { AbortError } from './abort.ts';
export { detach, type GradOptions, grad, noGrad } from './autograd/tape.ts';
export {
  type AutotuneOptions,
  autotune,
  type ClassTimings,
  loadTuning,
  type VariantTiming,
} from './bench/autotune.ts';
export { type AffineRanges, affineMap, affineMaps } from './data/affine.ts';
export * from './data/augment.ts';
export { type CifarKind, loadCifar, readCifar } from './data/cifar.ts';
export { loadFashionMnist } from './data/fashion.ts';
export { ImageSamples, type ImageSamplesOptions } from './data/image-samples.ts';
export {
  type ChannelStatistics,
  channelStatistics,
  type ImageData,
  type ImageSet,
  selectClasses,
} from './data/image-set.ts';
export type { ChainRandom } from './ebm/chain-random.ts';
export * from './ebm/chains.ts';
export * from './ebm/diagnostics.ts';
export type { Energy } from './ebm/energy.ts';
export { EnergyModel } from './ebm/energy-model.ts';
export { type HmcOptions, hmc } from './ebm/hmc.ts';
export * from './ebm/losses.ts';
export * from './ebm/mala.ts';
export { metropolis } from './ebm/metropolis.ts';
export type { EnergyModelConfig } from './ebm/network.ts';
export { ReplayBuffer } from './ebm/replay-buffer.ts';
export * from './ebm/sample.ts';
export * from './ebm/sampler.ts';
export {
  cosineSchedule,
  exponentialSchedule,
  linearSchedule,
  type Schedule,
} from './ebm/schedule.ts';
export * from './ebm/score-matching.ts';
export * from './ebm/unadjusted.ts';
export { EnergyAligner, type FitHooks, type FitProgress } from './eli/aligner.ts';
export * from './eli/apply.ts';
export * from './eli/drift.ts';
export type { AlignerState, LatentPairs } from './eli/fit.ts';
export * from './eli/gates/all.ts';
export * from './eli/gates/file.ts';
export * from './eli/gates/learn.ts';
export {
  CLOSED_FORMS,
  ClosedForm,
  type ClosedFormName,
  fitMap,
  MeanShift,
  RidgeMap,
} from './eli/maps/closed-forms.ts';
export { loadMap } from './eli/maps/load.ts';
export type { LatentMap } from './eli/maps/map.ts';
export * from './eli/measure.ts';
export { ALIGNER_DEFAULTS, type AlignerConfig, type AlignerOptions, type Start } from './eli/options.ts';
export { CachedGate } from './eli/policies/cached-gate.ts';
export * from './eli/policies/evaluate.ts';
export * from './eli/policies/scores.ts';
export { choosePairs, maxRows, type RowHooks, readRows } from './eli/rows.ts';
export { EliError, type ErrorCode } from './errors.ts';
export type { FloatDtype } from './files/floats.ts';
export { type ByteSource, InputFile } from './files/input.ts';
export { type LatentSource, openLatents } from './files/latents.ts';
export { writeNpy } from './files/npy.ts';
export * from './files/safetensors.ts';
export type { AdapterChoice, AdapterReport, SubgroupMatrix } from './gpu/adapter.ts';
export { Engine, type EngineOptions, type KernelLaunch, type Launch } from './gpu/engine.ts';
export type { PoolStats } from './gpu/pool.ts';
export type { Program } from './gpu/program.ts';
export type { KernelTime } from './gpu/timer.ts';
export {
  AdaptiveAvgPool2d,
  AvgPool2d,
  Conv2d,
  type Conv2dOptions as Conv2dLayerOptions,
  MaxPool2d,
} from './nn/conv.ts';
export { CosineLinear, imprintedWeights, SplitCosineLinear } from './nn/cosine.ts';
export { Dropout } from './nn/dropout.ts';
export { FlatParameters } from './nn/flat.ts';
export { Initializer } from './nn/init.ts';
export { Activation, Linear, leakyReluLayer, Sequential } from './nn/layers.ts';
export * from './nn/losses.ts';
export { frozenCopy, Module, type StateDict } from './nn/module.ts';
export { type Features, Network } from './nn/network.ts';
export { BatchNorm2d, type BatchNorm2dOptions } from './nn/norm.ts';
export * from './nn/resnet.ts';
export * from './ops/all.ts';
export { checkNumerics } from './ops/check-numerics.ts';
export {
  type Application,
  defineOp,
  type Op,
  type OpBasis,
  type OpDefinition,
  observeOps,
} from './ops/core/define.ts';
export { Ema } from './optim/ema.ts';
export { type LossScaleOptions, LossScaler, type LossScaling } from './optim/loss-scale.ts';
export {
  type AdamOptions,
  adam,
  adamw,
  type Learnt,
  Optimizer,
  type ParameterGroup,
  type RmspropOptions,
  rmsprop,
  type SgdOptions,
  sgd,
} from './optim/optimizer.ts';
export * from './optim/schedules.ts';
export { empty, fill, full, tensor, zeros } from './tensor/create.ts';
export type { NestedNumbers, TensorData } from './tensor/numbers.ts';
export { permutation, type RandomSource, randomBits, randomNormal, randomUniform } from './tensor/random.ts';
export type { Shape } from './tensor/shape.ts';
export { type DType, type FloatDType, Tensor } from './tensor/tensor.ts';
export { type Evaluation, evaluate } from './train/evaluate.ts';
export { forAllSamples } from './train/features.ts';
export { decayGroups } from './train/groups.ts';
export type { RunHooks } from './train/loop.ts';
export {
  type Batch,
  classification,
  type Objective,
  type Precision,
  softClassification,
} from './train/objective.ts';
export { BatchOrder } from './train/order.ts';
export { type LabelledSamples, type RowOptions, RowSamples, type TrainingSamples } from './train/samples.ts';
export { logStep, takeBatch } from './train/step.ts';
export * from './train/trainer.ts';
