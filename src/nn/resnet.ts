import { checkWhole, EliError } from '../errors.ts';
import { add } from '../ops/binary.ts';
import { avgPool2d, globalAvgPool } from '../ops/pool.ts';
import { pad } from '../ops/views.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Conv2d, MaxPool2d } from './conv.ts';
import { CosineLinear } from './cosine.ts';
import type { Initializer } from './init.ts';
import { Activation, Linear, Sequential } from './layers.ts';
import { Module } from './module.ts';
import { type Features, Network } from './network.ts';
import { BatchNorm2d } from './norm.ts';

/**
 * The shortcut around a block whose output has another size (He et al., CVPR 2016): every other pixel, padded with zero
 * channels on both sides (option A), or a 1×1 convolution with batch normalisation (option B).
 */
export type Shortcut = 'A' | 'B';

interface BlockOptions {
  readonly bottleneck: boolean;
  readonly shortcut: Shortcut;
  /** Whether a ReLU ends the block. */
  readonly lastRelu: boolean;
}

function conv(init: Initializer, inputs: number, outputs: number, kernel: number, stride = 1): Conv2d {
  const padding = (kernel - 1) / 2;
  return new Conv2d(init, inputs, outputs, kernel, { stride, padding, bias: false, weights: 'he' });
}

/** Two 3×3 convolutions, or as a bottleneck one between two 1×1, with the stride in the 3×3 as in torchvision. */
class Block extends Module {
  /** Channels of the output. */
  readonly outputs: number;
  readonly #layers: readonly (readonly [Conv2d, BatchNorm2d])[];
  /** The shortcut, where it is not the identity. */
  readonly #downsample: Module | undefined;
  readonly #lastRelu: boolean;

  constructor(init: Initializer, inputs: number, planes: number, stride: number, options: BlockOptions) {
    super();
    const { bottleneck, shortcut, lastRelu } = options;
    const outputs = bottleneck ? 4 * planes : planes;
    const layer = (from: number, to: number, kernel: number, step = 1) =>
      [conv(init, from, to, kernel, step), new BatchNorm2d(init, to)] as const;
    this.#layers = bottleneck
      ? [layer(inputs, planes, 1), layer(planes, planes, 3, stride), layer(planes, outputs, 1)]
      : [layer(inputs, planes, 3, stride), layer(planes, planes, 3)];
    this.outputs = outputs;
    this.#lastRelu = lastRelu;
    if (stride === 1 && inputs === outputs) return;
    const before = Math.floor((outputs - inputs) / 2);
    const fewer = (x: Tensor): Tensor => (stride === 1 ? x : avgPool2d(x, 1, { stride }));
    this.#downsample =
      shortcut === 'B'
        ? new Sequential([conv(init, inputs, outputs, 1, stride), new BatchNorm2d(init, outputs)])
        : new Activation((x) => pad(fewer(x), 1, before, outputs - inputs - before));
  }

  override children(): [string, Module][] {
    const layers = this.#layers.flatMap(([conv, bn], i): [string, Module][] => [
      [`conv${i + 1}`, conv],
      [`bn${i + 1}`, bn],
    ]);
    return this.#downsample === undefined ? layers : [...layers, ['downsample', this.#downsample]];
  }

  forward(x: Tensor): Tensor {
    const residual = this.#downsample?.forward(x) ?? x;
    const last = this.#layers.length - 1;
    return this.#layers.reduce((value, [conv, bn], i) => {
      const y = conv.forward(value);
      if (i < last) return bn.relu(y);
      return this.#lastRelu ? bn.relu(y, residual) : add(bn.forward(y), residual);
    }, x);
  }
}

function cifar(depth: number) {
  const count = (depth - 2) / 6;
  return { bottleneck: false, blocks: [count, count, count], large: false };
}

/**
 * Kind of block, and number of blocks in each stage. Those for large images begin with a 7×7 convolution of stride 2 and
 * a pooling, and have 64 planes instead of 16 in the first stage.
 */
const ARCHITECTURES = {
  resnet20: cifar(20),
  resnet32: cifar(32),
  resnet44: cifar(44),
  resnet56: cifar(56),
  resnet110: cifar(110),
  resnet18: { bottleneck: false, blocks: [2, 2, 2, 2], large: true },
  resnet34: { bottleneck: false, blocks: [3, 4, 6, 3], large: true },
  resnet50: { bottleneck: true, blocks: [3, 4, 6, 3], large: true },
};

/** One of `RESNETS`. */
export type ResNetName = keyof typeof ARCHITECTURES;
/** Names of the networks that `ResNet` builds. */
export const RESNETS = Object.keys(ARCHITECTURES) as ResNetName[];

/** Settings of a residual network. */
export interface ResNetOptions {
  readonly classes: number;
  /** Channels of the images. Default 3. */
  readonly channels?: number;
  /** Default: A for the CIFAR networks as in the paper, B for the large ones as in torchvision. */
  readonly shortcut?: Shortcut;
  /**
   * LUCIR's variant (Hou et al., CVPR 2019): a cosine classifier, and no ReLU after the last block, so features may be
   * negative. Default false.
   */
  readonly cosine?: boolean;
}

/**
 * Residual networks (He et al., CVPR 2016): ResNet-20 to 110 for 32×32 images, ResNet-18, 34 and 50 for 224×224.
 * Parameters have torchvision's names (`layer1.0.conv1`, `layer2.0.downsample.0`, `fc`, …), so its state dicts fit.
 */
export class ResNet extends Network {
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  /** The classifier, which an incremental learner replaces by a grown one. */
  fc: Linear | CosineLinear;
  /** Stages as `layer1`, `layer2`, … of the state dict. */
  readonly #stages: readonly Sequential[];
  readonly #pool: MaxPool2d | undefined;

  /** @throws EliError `ARGUMENT` for an unknown name or no classes. */
  constructor(init: Initializer, name: ResNetName, options: ResNetOptions) {
    super();
    if (!Object.hasOwn(ARCHITECTURES, name)) {
      throw new EliError('ARGUMENT', `unknown network ${name}; known: ${RESNETS.join(', ')}`);
    }
    const { bottleneck, blocks, large } = ARCHITECTURES[name];
    const { classes, channels = 3, cosine = false, shortcut: kind = large ? 'B' : 'A' } = options;
    checkWhole(`${name}: classes`, classes, 1);
    const width = large ? 64 : 16;
    this.conv1 = large ? conv(init, channels, width, 7, 2) : conv(init, channels, width, 3);
    this.bn1 = new BatchNorm2d(init, width);
    this.#pool = large ? new MaxPool2d(3, { stride: 2, padding: 1 }) : undefined;
    let inputs = width;
    this.#stages = blocks.map((count, stage) => {
      const planes = width * 2 ** stage;
      const layers = Array.from({ length: count }, (_, i) => {
        const stride = stage > 0 && i === 0 ? 2 : 1;
        const last = stage === blocks.length - 1 && i === count - 1;
        const lastRelu = !(last && cosine);
        const layer = new Block(init, inputs, planes, stride, { bottleneck, shortcut: kind, lastRelu });
        inputs = layer.outputs;
        return layer;
      });
      return new Sequential(layers);
    });
    this.fc = cosine ? new CosineLinear(init, inputs, classes) : new Linear(init, inputs, classes);
  }

  override children(): [string, Module][] {
    return [
      ['conv1', this.conv1],
      ['bn1', this.bn1],
      ...this.#stages.map((stage, i): [string, Module] => [`layer${i + 1}`, stage]),
      ['fc', this.fc],
    ];
  }

  /** Stages `layer1`, `layer2`, … [n, c, h, w] of images [n, channels, height, width], and the last one's global mean. */
  override features(x: Tensor): Features {
    const stem = this.bn1.relu(this.conv1.forward(x));
    let y = this.#pool?.forward(stem) ?? stem;
    const stages: Record<string, Tensor> = {};
    for (const [i, stage] of this.#stages.entries()) {
      y = stage.forward(y);
      stages[`layer${i + 1}`] = y;
    }
    return { stages, pooled: globalAvgPool(y) };
  }

  override classify(pooled: Tensor): Tensor {
    return this.fc.forward(pooled);
  }
}
