import { EliError, refusePromise } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Storage } from '../gpu/storage.ts';
import { denseStrides, type Shape, showShape, sizeOf } from './shape.ts';

export type DType = 'f32' | 'i32' | 'u32';

export interface TypedArrays {
  f32: Float32Array<ArrayBuffer>;
  i32: Int32Array<ArrayBuffer>;
  u32: Uint32Array<ArrayBuffer>;
}

export const ARRAY_OF = { f32: Float32Array, i32: Int32Array, u32: Uint32Array } as const;

/** Bytes of an element: every dtype has 32 bits. */
export const ELEMENT_BYTES = 4;

export interface TensorInit {
  readonly storage: Storage;
  readonly shape: Shape;
  readonly strides?: readonly number[];
  /** First element, in elements from the start of the storage. */
  readonly offset?: number;
  readonly dtype: DType;
}

/**
 * A view of a GPU buffer: shape, strides and offset in elements. Views share storage; the buffer goes back to the
 * pool when the last of them is disposed.
 */
export class Tensor {
  readonly engine: Engine;
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly dtype: DType;
  readonly size: number;
  /** Whether gradients with respect to this tensor are wanted (leaves), or flow through it (results). */
  requiresGrad = false;
  #storage: Storage;
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
  get storage(): Storage {
    this.#alive();
    return this.#storage;
  }

  get offset(): number {
    return this.#offset;
  }

  get rank(): number {
    return this.shape.length;
  }

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

  /** Another view of the same elements; it holds the storage on its own. */
  view(shape: Shape, strides: readonly number[], offset: number): Tensor {
    return new Tensor({ storage: this.storage.retain(), shape, strides, offset, dtype: this.dtype });
  }

  /** Moves this tensor to another place (a flat buffer of all parameters, say); its values must be there already. */
  rebind(storage: Storage, offset: number): void {
    this.#alive();
    this.#storage.release();
    this.#storage = storage.retain();
    this.#offset = offset;
  }

  /** Overwrites all elements; the tensor must be contiguous. @throws EliError `SHAPE` for a wrong length. */
  write(data: ArrayLike<number>): void {
    this.#alive();
    refusePromise('tensor.write: the data', data);
    if (data.length !== this.size || !this.isContiguous) {
      throw new EliError(
        'SHAPE',
        `tensor.write: ${data.length} numbers do not fill a dense tensor of shape ${showShape(this.shape)}`,
      );
    }
    const bytes =
      data instanceof ARRAY_OF[this.dtype] ? (data as TypedArrays[DType]) : ARRAY_OF[this.dtype].from(data);
    this.engine.write(this.#storage, this.#offset * ELEMENT_BYTES, bytes);
  }

  /**
   * The elements in row-major order, after everything recorded so far has run.
   * @throws EliError of any failure the device met on the way.
   */
  async read(): Promise<Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>> {
    this.#alive();
    const span = 1 + this.shape.reduce((sum, n, i) => sum + (n - 1) * this.strides[i]!, 0);
    const bytes = await this.engine.read(this.#storage, this.#offset * ELEMENT_BYTES, span * ELEMENT_BYTES);
    const raw = new ARRAY_OF[this.dtype](bytes);
    return this.isContiguous ? raw : gather(raw, this.shape, this.strides);
  }

  /** The elements of an f32 tensor. @throws EliError `DTYPE` for another dtype. */
  async readFloats(): Promise<Float32Array<ArrayBuffer>> {
    if (this.dtype !== 'f32')
      throw new EliError('DTYPE', `readFloats: this tensor is ${this.dtype}, not f32`);
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

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.engine.untrack(this);
    if (!this.engine.disposed) this.#storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    return `Tensor(${this.dtype} ${showShape(this.shape)})`;
  }
}

function gather<T extends TypedArrays[DType]>(raw: T, shape: Shape, strides: readonly number[]): T {
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

/** @throws EliError `DTYPE` naming the op and what it got. */
export function checkDType(op: string, tensor: Tensor, dtype: DType): void {
  if (tensor.dtype !== dtype) {
    throw new EliError(
      'DTYPE',
      `${op} needs ${dtype}, got ${tensor.dtype} of shape ${showShape(tensor.shape)}`,
    );
  }
}

/** The one engine of all operands. @throws EliError `WRONG_ENGINE` when they come from different ones. */
export function engineOf(op: string, tensors: readonly Tensor[]): Engine {
  for (const tensor of tensors) refusePromise(`${op}: an operand`, tensor);
  const engine = tensors[0]!.engine;
  for (const tensor of tensors) {
    if (tensor.engine !== engine) {
      throw new EliError('WRONG_ENGINE', `${op}: its operands live on different engines`, {
        hint: 'read one of them and create it on the other engine',
      });
    }
  }
  return engine;
}
