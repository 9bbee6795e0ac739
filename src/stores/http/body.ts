import { ChunkedBody } from './chunked.ts';
import type { Framing } from './head.ts';

/** Whence a body comes: a connection that can be made to go on, and be given up. */
export interface Source {
  /** Calls `receive` with whatever arrives next. */
  resume(): void;
  /** Nothing more is wanted, and the connection is of no use any more. */
  destroy(): void;
  /** The body has ended and was taken whole. */
  done(): void;
}

/** The body of one answer; consumed once, by one of its methods, or the connection is not used again. */
export interface AnswerBody extends AsyncIterable<Uint8Array> {
  /** The whole body in memory; of a sized one a view of `into` where that is long enough. */
  bytes(into?: Uint8Array): Promise<Uint8Array>;
  /** Throws it away, broken or not; a long one with its connection. */
  dump(): Promise<void>;
  /** Gives up what has not arrived. */
  destroy(): void;
}

/** Reading more than this only to throw it away would take longer than a new connection. */
const dumpedBytes = 128 * 1024;
/** No caller asks for more in one piece. */
const maxWholeBytes = 4 * 1024 ** 3;

type Waiter = { readonly resolve: () => void; readonly reject: (error: Error) => void };

/**
 * A body as it arrives. A sized body is read by the kernel straight into the memory that the caller gets; nothing is
 * read from the socket while nobody asks.
 */
export class IncomingBody implements AnswerBody {
  readonly #source: Source;
  readonly #chunks: ChunkedBody | undefined;
  /** Bytes that must still come; undefined where only the body itself tells. */
  #left: number | undefined;
  #pieces: Uint8Array[] = [];
  #received = 0;
  /** The whole body, while it is read in one piece. */
  #whole: Uint8Array | undefined;
  #state: 'open' | 'ended' | 'failed' = 'open';
  #error: Error | undefined;
  #waiter: Waiter | undefined;

  constructor(framing: Framing, source: Source) {
    this.#source = source;
    this.#left = framing.kind === 'sized' ? framing.bytes : undefined;
    if (framing.kind === 'chunked') this.#chunks = new ChunkedBody();
    if (this.#left === 0) this.#end();
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Where the next bytes may be read to; undefined: wherever the connection likes. */
  target(): Uint8Array | undefined {
    return this.#left ? this.#whole?.subarray(this.#received) : undefined;
  }

  /** Takes bytes, and tells how many of them were of this body and whether it wants more at once. */
  receive(bytes: Uint8Array): { used: number; wantsMore: boolean } {
    const used = this.#chunks
      ? this.#chunks.read(bytes, (piece) => this.#keep(piece))
      : Math.min(bytes.length, this.#left ?? bytes.length);
    if (!this.#chunks) this.#keep(bytes.subarray(0, used));
    if (this.#left === 0 || this.#chunks?.isDone) this.#end();
    else if (this.#whole === undefined) this.#wake();
    return {
      used,
      wantsMore: this.#state === 'open' && (this.#whole !== undefined || this.#waiter !== undefined),
    };
  }

  /** The connection has ended: the rest never comes, unless just that is the end. */
  closed(error: Error): void {
    if (this.#state !== 'open') return;
    if (this.#left === undefined && this.#chunks === undefined && error instanceof EndOfStream) this.#end();
    else this.#fail(error);
  }

  async bytes(into?: Uint8Array): Promise<Uint8Array> {
    try {
      if (this.#left !== undefined && this.#state === 'open') await this.#readWhole(into);
      while (this.#state === 'open') {
        await this.#more();
        if (this.#received > maxWholeBytes) throw new Error('the answer does not end');
      }
      if (this.#state === 'failed') throw this.#error;
      if (this.#whole) return this.#whole;
      const [only] = this.#pieces;
      return this.#pieces.length === 1 ? only! : Buffer.concat(this.#pieces);
    } finally {
      this.destroy();
    }
  }

  async dump(): Promise<void> {
    if ((this.#left ?? 0) > dumpedBytes) return this.destroy();
    let dumped = 0;
    try {
      for await (const piece of this) {
        dumped += piece.length;
        if (dumped > dumpedBytes) return;
      }
    } catch {
      // The head has told what became of the request.
    }
  }

  destroy(): void {
    if (this.#state !== 'open') return;
    this.#fail(new Error('the answer was given up'));
    this.#source.destroy();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const pieces = this.#pieces.splice(0);
        for (const piece of pieces) yield piece;
        if (this.#pieces.length > 0) continue;
        if (this.#state === 'failed') throw this.#error;
        if (this.#state === 'ended') return;
        await this.#more();
      }
    } finally {
      this.destroy();
    }
  }

  async #readWhole(into: Uint8Array | undefined): Promise<void> {
    const size = this.#left! + this.#received;
    if (size > maxWholeBytes) throw new Error(`the answer announces ${size} bytes`);
    const whole = into && into.length >= size ? into.subarray(0, size) : Buffer.allocUnsafeSlow(size);
    let at = 0;
    for (const piece of this.#pieces.splice(0)) {
      whole.set(piece, at);
      at += piece.length;
    }
    this.#whole = whole;
    await this.#more();
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const at = this.#received;
    this.#received += bytes.length;
    if (this.#left !== undefined) this.#left -= bytes.length;
    if (this.#whole) {
      // Read there already, but for what came in the connection's own buffer.
      if (bytes.buffer !== this.#whole.buffer) this.#whole.set(bytes, at);
    } else this.#pieces.push(Uint8Array.prototype.slice.call(bytes));
  }

  /** Resolves when something has come, or the end. */
  #more(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#source.resume();
    });
  }

  #wake(): void {
    const waiter = this.#waiter;
    if (this.#pieces.length === 0 && this.#state === 'open') return;
    this.#waiter = undefined;
    waiter?.resolve();
  }

  #end(): void {
    this.#state = 'ended';
    this.#source.done();
    this.#wake();
  }

  #fail(error: Error): void {
    this.#state = 'failed';
    this.#error = error;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(error);
  }
}

/** The other side has said that nothing more comes. */
export class EndOfStream extends Error {
  constructor() {
    super('the other side closed the connection');
  }
}
