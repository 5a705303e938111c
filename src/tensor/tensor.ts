import { EliError, nameOf, refusePromise } from '../errors.ts';
import { floatsToHalves, halvesToFloats } from '../files/floats.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Storage } from '../gpu/storage.ts';
import { launch1d } from './launch.ts';
import { numbersOf, type TensorData } from './numbers.ts';
import { checkSize, denseStrides, type Shape, showShape, sizeOf } from './shape.ts';

/** f16 only stores real numbers: kernels compute in f32. It needs the feature shader-f16. */
export type FloatDType = 'f32' | 'f16';
/** Element types of tensors. */
export type DType = FloatDType | 'i32' | 'u32';

/** The elements of a tensor on the CPU; f16 becomes float32, which is exact. */
type Elements = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

export const ARRAY_OF = { f32: Float32Array, f16: Float32Array, i32: Int32Array, u32: Uint32Array } as const;

export const ELEMENT_BYTES: Readonly<Record<DType, number>> = { f32: 4, f16: 2, i32: 4, u32: 4 };

/** Copies to and from a device are multiples of this many bytes. */
const WORD = 4;

/** The method that Node's `console.log` calls. */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

export interface TensorInit {
  readonly storage: Storage<Engine>;
  readonly shape: Shape;
  readonly strides?: readonly number[];
  /** First element, in elements from the start of the storage. */
  readonly offset?: number;
  readonly dtype: DType;
}

/**
 * A view of a GPU buffer: shape, strides and offset in elements. Views share storage; the buffer returns to the pool
 * when the last of them is disposed.
 */
export class Tensor {
  readonly engine: Engine;
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly dtype: DType;
  readonly size: number;
  /** Whether gradients with respect to this tensor are wanted (leaves) or flow through it (results). */
  requiresGrad = false;
  #storage: Storage<Engine>;
  #offset: number;
  #disposed = false;

  /** Takes over one reference of `init.storage`. */
  constructor(init: TensorInit) {
    this.#storage = init.storage;
    this.engine = init.storage.engine;
    this.shape = [...init.shape];
    this.strides = init.strides ?? denseStrides(init.shape);
    this.#offset = init.offset ?? 0;
    this.dtype = init.dtype;
    this.size = sizeOf(init.shape);
    this.engine.track(this);
  }

  /** @throws EliError `DISPOSED` after dispose. */
  get storage(): Storage<Engine> {
    this.#alive();
    return this.#storage;
  }

  /** First element in its buffer, in elements. */
  get offset(): number {
    return this.#offset;
  }

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** Whether `dispose` was called; a disposed tensor can no longer be used. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Whether the elements lie dense and row-major. */
  get isContiguous(): boolean {
    const dense = denseStrides(this.shape);
    return this.strides.every((stride, i) => this.shape[i] === 1 || stride === dense[i]);
  }

  #alive(): void {
    const gone = (what: string, hint: string): EliError =>
      new EliError('DISPOSED', `${what} (shape ${showShape(this.shape)}) was disposed`, { hint });
    if (this.#disposed)
      throw gone('this tensor', 'keep it out of engine.tidy by returning it, or with engine.keep');
    if (this.engine.disposed)
      throw gone('the engine of this tensor', 'read its tensors before disposing an engine');
    if (this.#storage.memory.closed)
      throw gone('the captured program of this tensor', 'dispose the program when its results are read');
  }

  /** Another view of the same storage, which it keeps alive. */
  view(shape: Shape, strides: readonly number[], offset: number): Tensor {
    checkSize('a view', shape);
    return new Tensor({ storage: this.storage.retain(), shape, strides, offset, dtype: this.dtype });
  }

  /** Moves this tensor to another storage, such as a flat buffer of all parameters, that already has its values. */
  rebind(storage: Storage<Engine>, offset: number): void {
    this.#alive();
    this.#storage.release();
    this.#storage = storage.retain();
    storage.watch();
    this.#offset = offset;
  }

  /** Overwrites all elements; the tensor must be contiguous. @throws EliError `SHAPE` for a wrong length. */
  write(given: TensorData): void {
    this.#alive();
    const { data } = numbersOf('tensor.write', given);
    if (data.length !== this.size || !this.isContiguous) {
      throw new EliError(
        'SHAPE',
        `tensor.write: ${data.length} numbers do not fill a dense tensor of shape ${showShape(this.shape)}`,
      );
    }
    if (this.dtype === 'f16') {
      this.#writeHalves(floatsToHalves(data));
      return;
    }
    const bytes = data instanceof ARRAY_OF[this.dtype] ? (data as Elements) : ARRAY_OF[this.dtype].from(data);
    this.engine.write(this.#storage, this.#offset * ELEMENT_BYTES[this.dtype], bytes);
  }

  /** Whole words are written directly; where a word is shared with another tensor, a kernel writes the halves. */
  #writeHalves(halves: Uint16Array<ArrayBuffer>): void {
    const { engine } = this;
    const n = halves.length;
    const start = 2 * this.#offset;
    const end = start + halves.byteLength;
    const words = new Uint16Array(2 * Math.ceil(n / 2));
    words.set(halves);
    if (start % WORD === 0 && (end % WORD === 0 || end >= this.#storage.bytes)) {
      engine.write(this.#storage, start, words);
      return;
    }
    const whole = engine.allocate(words.byteLength);
    engine.write(whole, 0, words);
    launch1d(engine, 'elementwise/copy.wgsl', n, {
      storages: [whole, this.#storage],
      overrides: { RANK: 1 },
      consts: { Element: 'f16' },
      params: { shape: [n], stride_x: [1], stride_y: [1], n, offset_x: 0, offset_y: this.#offset },
    });
    whole.release();
  }

  /**
   * The elements in row-major order, after everything recorded so far has run; f16 as float32.
   * @throws EliError of any earlier failure of the device.
   */
  async read(): Promise<Elements> {
    this.#alive();
    const span = 1 + this.shape.reduce((sum, n, i) => sum + (n - 1) * this.strides[i]!, 0);
    const element = ELEMENT_BYTES[this.dtype];
    const start = this.#offset * element;
    const before = start % WORD;
    // Buffers are whole words.
    const length = Math.ceil((before + span * element) / WORD) * WORD;
    const bytes = await this.engine.read(this.#storage, start - before, length);
    const raw =
      this.dtype === 'f16'
        ? halvesToFloats(new Uint16Array(bytes, before, span))
        : new ARRAY_OF[this.dtype](bytes);
    return this.isContiguous ? raw : gather(raw, this.shape, this.strides);
  }

  /** The elements of an f32 or f16 tensor. @throws EliError `DTYPE` for another dtype. */
  async readFloats(): Promise<Float32Array<ArrayBuffer>> {
    floatDType('readFloats', this);
    return (await this.read()) as Float32Array<ArrayBuffer>;
  }

  /** The only element of a tensor of size 1. */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new EliError(
        'SHAPE',
        `item: a tensor of shape ${showShape(this.shape)} has ${this.size} elements`,
      );
    return (await this.read())[0]!;
  }

  /** Frees the tensor; its buffer returns to the pool when no view of it is left. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.engine.untrack(this);
    if (!this.engine.disposed) this.#storage.release();
  }

  /** Called by the engine when no `tidy` will dispose of the tensor: its buffer comes back if it is dropped. */
  watch(): void {
    this.#storage.watch();
  }

  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Dtype and shape, such as `Tensor(f32 [2, 3])`; no values. */
  toString(): string {
    return `Tensor(${this.dtype} ${showShape(this.shape)})`;
  }

  /** What `console.log` prints: dtype, shape and the engine's adapter, such as `Tensor(f32 [2, 3] on llvmpipe)`. */
  [INSPECT](): string {
    const gone = this.#disposed || this.engine.disposed ? ', disposed' : '';
    return `Tensor(${this.dtype} ${showShape(this.shape)} on ${this.engine.adapter.name}${gone})`;
  }
}

function gather<T extends Elements>(raw: T, shape: Shape, strides: readonly number[]): T {
  const out = new (raw.constructor as new (n: number) => T)(sizeOf(shape));
  const index = new Array<number>(shape.length).fill(0);
  let at = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = raw[at]!;
    for (let d = shape.length - 1; d >= 0; d--) {
      at += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      at -= strides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
  return out;
}

/** @throws EliError `ARGUMENT` unless it is a tensor. */
export function checkTensor(what: string, value: Tensor): void {
  if (value instanceof Tensor) return;
  refusePromise(what, value);
  throw new EliError('ARGUMENT', `${what} is ${nameOf(value)}, must be a tensor`, {
    hint: 'tensor(engine, data, shape) makes one from numbers',
  });
}

/** The same for an operand of an op; its message is put together only where it is needed. */
function checkOperand(op: string, value: Tensor): void {
  if (!(value instanceof Tensor)) checkTensor(`${op}: an operand`, value);
}

/** @throws EliError `DTYPE` naming the op and what it got. */
export function checkDType(op: string, tensor: Tensor, dtype: DType): void {
  checkOperand(op, tensor);
  if (tensor.dtype !== dtype) {
    throw new EliError(
      'DTYPE',
      `${op} needs ${dtype}, got ${tensor.dtype} of shape ${showShape(tensor.shape)}`,
      isFloat(dtype) && isFloat(tensor.dtype) ? { hint: `cast(x, '${dtype}') converts it` } : {},
    );
  }
}

export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === 'f32' || dtype === 'f16';
}

/** The common dtype of real operands. @throws EliError `DTYPE` when they are not real, or their dtypes differ. */
export function floatDType(op: string, ...tensors: readonly Tensor[]): FloatDType {
  for (const tensor of tensors) checkOperand(op, tensor);
  const { dtype } = tensors[0]!;
  if (!isFloat(dtype)) throw new EliError('DTYPE', `${op} needs f32 or f16, got ${tensors[0]!.toString()}`);
  if (tensors.some((t) => t.dtype !== dtype)) {
    const got = tensors.map((t) => `${t.dtype} ${showShape(t.shape)}`).join(', ');
    throw new EliError('DTYPE', `${op} needs operands of one dtype, got ${got}`, {
      hint: 'cast(x, dtype) converts between f32 and f16',
    });
  }
  return dtype;
}

/** The launch consts for storage aliases that are f32 in the shader file. */
export function storedAs(types: Readonly<Record<string, DType>>): Readonly<Record<string, DType>> {
  return Object.fromEntries(Object.entries(types).filter(([, dtype]) => dtype !== 'f32'));
}

/** The launch consts for a shader that moves elements unchanged, through `alias Element = u32`. */
export function movedAs(dtype: DType): Readonly<Record<string, 'f16'>> {
  return dtype === 'f16' ? { Element: 'f16' } : {};
}

/** The common engine of all operands. @throws EliError `WRONG_ENGINE` when they come from different ones. */
export function engineOf(op: string, tensors: readonly Tensor[]): Engine {
  for (const tensor of tensors) checkOperand(op, tensor);
  const { engine } = tensors[0]!;
  if (tensors.some((tensor) => tensor.engine !== engine)) {
    throw new EliError('WRONG_ENGINE', `${op}: its operands live on different engines`, {
      hint: 'read one of them and create it on the other engine',
    });
  }
  return engine;
}
