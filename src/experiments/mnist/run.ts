import { join } from 'node:path';
import { partialOf } from '../../abort.ts';
import type { ImageData } from '../../data/image-set.ts';
import { EnergyAligner } from '../../eli/aligner.ts';
import type { Engine } from '../../gpu/engine.ts';
import { writeJson } from '../../report/json.ts';
import { withBar } from '../../report/progress.ts';
import { mean } from '../../report/stats.ts';
import { speedOf } from '../../report/tensorboard.ts';
import { withScope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkLosses } from '../checkpoint.ts';
import { loadPolicies, type PolicyReport, savePolicies } from '../policy-report.ts';
import { runStages, type Stage, stoppable } from '../session.ts';
import { readCheckpoint } from './checkpoint.ts';
import { alignerOptions, MNIST_KEYS, type MnistConfig } from './config.ts';
import type { MnistMetrics } from './metrics.ts';
import { saveMnistPictures } from './pictures.ts';
import { measurePolicies, POLICY_STAGES } from './policies.ts';
import { learntModels, type MnistRun, MnistState } from './state.ts';
import { accuracy, taskTrainer } from './two-task.ts';

/** The result of a run; `policies` if a report was requested. */
export interface MnistResult extends MnistMetrics {
  readonly policies?: PolicyReport;
}

/** Training and fit resume in the middle, from the checkpoint. */
const STAGES: readonly Stage<MnistState>[] = [
  { name: 'task 1', done: isTrained(1), run: (state) => trainTask(state, 1) },
  { name: 'model of task 1', done: (state) => state.afterTask1 !== undefined, run: keepModel },
  { name: 'task 2', done: isTrained(2), run: (state) => trainTask(state, 2) },
  { name: 'aligner', done: () => false, run: fitAligner },
  { name: 'metrics', done: () => false, run: measure },
  { name: 'pictures', done: ({ run }) => !run.pictures, run: draw },
  { name: 'policies', done: ({ run }) => run.report === undefined, run: reportPolicies },
];

/**
 * One seed of the two-task MNIST experiment of ELI (Joseph et al., CVPR 2022, section 3.3): train on digits 0–4, then
 * on 5–9 with the same base, learn the aligner on task-2 images alone, align task-1 latents. Stopped by `signal` at any
 * point, it writes a checkpoint and rejects with `RunStopped`.
 */
export async function runMnist(
  engine: Engine,
  config: MnistConfig,
  mnist: ImageData,
  run: MnistRun,
): Promise<MnistResult> {
  const { metrics, policies } = await runStages(engine, config, run, {
    rules: MNIST_KEYS,
    readCheckpoint,
    begin: (parts, before) => new MnistState(parts, mnist, before),
    stages: STAGES,
  });
  return policies === undefined ? metrics! : { ...metrics!, policies };
}

function isTrained(task: 1 | 2): (state: MnistState) => boolean {
  return ({ epochs, config }) => epochs[task - 1]! >= config.epochs;
}

async function trainTask(state: MnistState, task: 1 | 2): Promise<void> {
  const { config, run, epochs } = state;
  const data = task === 1 ? state.sets.train1 : state.sets.train2;
  const trainer = taskTrainer(state.net, state.optimizer, task, data, config);
  const steps = trainer.stepsPerEpoch;
  const done = (): number => epochs[task - 1]! * steps + state.losses.length;
  checkLosses(run.folder, state.losses, steps - 1);
  const work = run.progress(`task ${task}`, config.epochs * steps, 'steps', done());
  await withBar(work, async (bar) => {
    if (state.classifier !== undefined) trainer.load({ ...state.classifier, step: done() });
    while (!isTrained(task)(state)) {
      const first = done();
      const onProgress = (count: number, loss: number): void =>
        bar.update(first + count, `loss ${loss.toFixed(4)}`);
      const left = steps - state.losses.length;
      const start = performance.now();
      const work = trainer.run(left, { signal: run.signal, onProgress });
      const losses = await work.catch(partialOf<Float32Array>);
      state.losses = [...state.losses, ...losses];
      if (state.losses.length === steps) {
        const epoch = ++epochs[task - 1]!;
        const speed = speedOf('images', losses.length * config.batch, start);
        state.event({ event: 'epoch', task, epoch, loss: mean(state.losses) }, speed);
        state.losses = [];
      }
      state.classifier = await trainer.state();
      await state.checkpoint();
      state.check();
    }
  }).finally(() => trainer.dispose());
}

async function keepModel(state: MnistState): Promise<void> {
  state.afterTask1 = await state.net.stateDict();
}

async function fitAligner(state: MnistState): Promise<void> {
  const { engine, config, run, scope, curve, fit } = state;
  state.learnt = learntModels(state);
  const { savedHead, pairs, test } = state.learnt;
  const labels = state.sets.test1.hostLabels;
  const measured = (latents: Tensor) => accuracy(savedHead, latents, labels);
  if (curve.length === 0) curve.push({ iteration: 0, accuracy: await measured(test.current) });
  let [done, start] = [fit?.iteration ?? 0, performance.now()];
  const work = run.progress('aligner', config.iterations, 'iterations', done);
  const aligner = await withBar(work, (bar) => {
    state.check();
    return EnergyAligner.fit(engine, pairs, alignerOptions(config), {
      every: config.curveEvery,
      signal: run.signal,
      ...(fit === undefined ? {} : { resume: fit }),
      onProgress: async ({ iteration, loss, aligner, stopped }) => {
        if (!stopped) {
          const speed = speedOf('iterations', iteration - done, start);
          const aligned = engine.tidy(() => aligner.align(test.current));
          const value = await measured(aligned);
          aligned.dispose();
          bar.update(iteration, `loss ${loss.toFixed(3)}, task 1 at ${value.toFixed(1)} %`);
          curve.push({ iteration, accuracy: value });
          state.event({ event: 'fit', iteration, loss, accuracy: value }, speed);
        }
        await state.checkpoint(aligner);
        state.check();
        [done, start] = [iteration, performance.now()];
      },
    });
  });
  state.aligner = scope.add(aligner);
}

async function measure(state: MnistState): Promise<void> {
  const { engine, config, run, curve } = state;
  const { head1, head2 } = state.net;
  const aligner = state.aligner!;
  const { savedHead, test } = state.learnt!;
  const [labels1, labels2] = [state.sets.test1.hostLabels, state.sets.test2.hostLabels];
  state.metrics = await withScope(engine, async (scope) => {
    const aligned = scope.own(() => aligner.align(test.current));
    const secondAligned = scope.own(() => aligner.align(test.second));
    return {
      seed: config.seed,
      latent: config.latent,
      task1: await accuracy(savedHead, test.previous, labels1),
      task2: await accuracy(head2, test.second, labels2),
      unaligned: await accuracy(head1, test.current, labels1),
      unalignedSavedHead: await accuracy(savedHead, test.current, labels1),
      aligned: await accuracy(head1, aligned, labels1),
      alignedSavedHead: await accuracy(savedHead, aligned, labels1),
      task2Aligned: await accuracy(head2, secondAligned, labels2),
      curve,
    };
  });
  await writeJson(join(run.folder, 'metrics.json'), state.metrics);
  await aligner.save(join(run.folder, 'aligner.safetensors'));
  state.event({ event: 'metrics', ...state.metrics });
}

function draw(state: MnistState): Promise<void> {
  const { engine, run, metrics, aligner, sets } = state;
  const { previous, current } = state.learnt!.test;
  const labels = sets.test1.hostLabels;
  return withScope(engine, (scope) => {
    const all = { previous, current, aligned: scope.own(() => aligner!.align(current)) };
    return saveMnistPictures(run.folder, metrics!, aligner!, all, labels, stoppable(run.progress, state));
  });
}

async function reportPolicies(state: MnistState): Promise<void> {
  const { config, run, sets } = state;
  const { previous, savedHead } = state.learnt!;
  const { seed, gateQuantile, statisticsQuantile } = config;
  const settings = { kind: run.report!, gateQuantile, statisticsQuantile };
  state.policies = run.resume ? await loadPolicies(run.folder, settings) : undefined;
  if (state.policies !== undefined) return;
  await withBar(run.progress('policies', POLICY_STAGES[settings.kind], 'stages'), async (bar) => {
    let stages = 0;
    const measured = measurePolicies({
      ...settings,
      seed,
      sets,
      previous,
      oldHead: savedHead,
      current: state.net.base,
      newHead: state.net.head2,
      aligner: state.aligner!,
      onStage: (stage) => {
        state.check();
        bar.update(stages++, stage);
      },
    });
    const report = await state.unlessStopped(measured);
    bar.update(stages);
    await savePolicies(run.folder, [report], settings, run.pictures);
    state.policies = report;
  });
}
