// Importing this module registers every op.
export * from './binary.ts';
export * from './conv.ts';
export { cast } from './core/cast.ts';
export * from './gather.ts';
export * from './loss.ts';
export * from './matmul.ts';
export * from './norm.ts';
export * from './pool.ts';
export * from './reduce.ts';
export { type Axes, type Resample, type ResizeOptions, resample, resize } from './resize.ts';
export { logSoftmax, logSumExp, softmax } from './softmax.ts';
export * from './unary.ts';
export * from './views.ts';
export * from './where.ts';
