import { StoreFailure } from '../../model/failure.ts';
import type { ByteRange, ObjectHead } from '../../ports/object-store.ts';
import type { FileCalls } from './calls.ts';
import { asStoreFailure } from './failures.ts';
import { markOf } from './identity.ts';

const pieceBytes = 256 * 1024;

/** Descriptors of bodies that nobody consumed; a caller may drop an answer after looking at its head. */
const dropped = new FinalizationRegistry<{ close(): Promise<void> }>((file) => {
  file.close().catch(() => undefined);
});

/** One file, held open from the moment it was looked at: whatever gets its name, these bytes are read. */
export class Body {
  readonly #calls: FileCalls;
  readonly #head: ObjectHead;
  readonly #signal: AbortSignal;
  readonly #from: number;
  readonly #to: number;
  readonly #file: { readonly fd: number; close(): Promise<void> };
  #isConsumed = false;

  constructor(
    calls: FileCalls,
    fd: number,
    head: ObjectHead,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ) {
    this.#calls = calls;
    this.#head = head;
    this.#signal = signal;
    this.#to = Math.min(range?.to ?? head.size, head.size);
    this.#from = Math.min(range?.from ?? 0, this.#to);
    let isOpen = true;
    const close = async () => {
      if (!isOpen) return;
      isOpen = false;
      await calls.close(fd);
    };
    this.#file = { fd, close };
    dropped.register(this, this.#file);
  }

  /** Piece by piece; `changed` when somebody writes into the file meanwhile. */
  async *pieces(): AsyncGenerator<Uint8Array> {
    this.#consume();
    try {
      for (let at = this.#from; at < this.#to; ) {
        const piece = await this.#piece(at, Math.min(pieceBytes, this.#to - at));
        at += piece.length;
        yield piece;
      }
    } finally {
      await this.#file.close();
    }
  }

  /** All at once. */
  async bytes(): Promise<Uint8Array> {
    this.#consume();
    try {
      return await this.#piece(this.#from, this.#to - this.#from);
    } finally {
      await this.#file.close();
    }
  }

  #consume(): void {
    if (this.#isConsumed) throw new TypeError('this body was consumed before; call read() again');
    this.#isConsumed = true;
  }

  async #piece(from: number, length: number): Promise<Uint8Array> {
    this.#signal.throwIfAborted();
    try {
      const piece = Buffer.allocUnsafeSlow(length);
      for (let done = 0; done < length; ) {
        const count = await this.#calls.read(this.#file.fd, piece.subarray(done), from + done);
        if (count === 0) throw this.#changed();
        done += count;
      }
      await this.#demandUnchanged();
      return piece;
    } catch (cause) {
      throw asStoreFailure(cause, `reading ${JSON.stringify(this.#head.key)}`);
    }
  }

  /** Renamed, linked or deleted meanwhile is fine, the bytes are the same; written into is not. */
  async #demandUnchanged(): Promise<void> {
    const mark = markOf(await this.#calls.fstat(this.#file.fd));
    if (!this.#head.token.startsWith(`${mark}.`)) throw this.#changed();
  }

  #changed(): StoreFailure {
    return new StoreFailure(
      'changed',
      `${JSON.stringify(this.#head.key)} was written into while it was read; look again and start over`,
    );
  }
}
