/** Layers, losses, optimizers and the training loop. */
export {
  AdaptiveAvgPool2d,
  AvgPool2d,
  Conv2d,
  type Conv2dOptions as Conv2dLayerOptions,
  MaxPool2d,
} from '../nn/conv.ts';
export { CosineLinear, imprintedWeights, SplitCosineLinear } from '../nn/cosine.ts';
export { Dropout } from '../nn/dropout.ts';
export { FlatParameters } from '../nn/flat.ts';
export { Initializer } from '../nn/init.ts';
export { Activation, Linear, leakyReluLayer, Sequential } from '../nn/layers.ts';
export * from '../nn/losses.ts';
export { frozenCopy, Module, type StateDict } from '../nn/module.ts';
export { type Features, Network } from '../nn/network.ts';
export { BatchNorm2d, type BatchNorm2dOptions } from '../nn/norm.ts';
export * from '../nn/resnet.ts';
export { Ema } from '../optim/ema.ts';
export { type LossScaleOptions, LossScaler, type LossScaling } from '../optim/loss-scale.ts';
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
} from '../optim/optimizer.ts';
export * from '../optim/schedules.ts';
export { type Evaluation, evaluate } from '../train/evaluate.ts';
export { forAllSamples } from '../train/features.ts';
export { decayGroups } from '../train/groups.ts';
export type { RunHooks } from '../train/loop.ts';
export {
  type Batch,
  classification,
  type Objective,
  type Precision,
  softClassification,
} from '../train/objective.ts';
export { BatchOrder } from '../train/order.ts';
export { type LabelledSamples, type RowOptions, RowSamples, type TrainingSamples } from '../train/samples.ts';
export { logStep, takeBatch } from '../train/step.ts';
export * from '../train/trainer.ts';
