/**
 * eli-webgpu: a WebGPU compute engine for Node with autodiff, and ELI, the energy-based latent aligner.
 *
 * Everything starts with `await Engine.create()`; tensors live on an engine, ops are plain functions, `engine.tidy`
 * frees what a stretch of code made, `engine.capture` turns a step into a program that is replayed.
 */
export * from './api/data.ts';
export * from './api/ebm.ts';
export * from './api/eli.ts';
export * from './api/engine.ts';
export * from './api/nn.ts';
