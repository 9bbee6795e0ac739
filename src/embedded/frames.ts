import type { Socket } from 'node:net';

/** Bounds what one side makes the other keep in memory. */
export const maxFrameBytes = 64 * 1024 * 1024;

/** JSON messages over a stream, each behind its length (4 bytes, big-endian). */
export class Frames {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(socket: Socket, receive: (message: unknown) => void) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      try {
        this.#cut(receive);
      } catch (failure) {
        socket.destroy(failure instanceof Error ? failure : new Error(String(failure)));
      }
    });
  }

  send(message: unknown): void {
    const body = Buffer.from(JSON.stringify(message));
    if (body.length > maxFrameBytes) {
      throw new RangeError(
        `A message of ${body.length} bytes is too large for the process that owns the state folder ` +
          `(at most ${maxFrameBytes}); send it in smaller batches.`,
      );
    }
    const head = Buffer.alloc(4);
    head.writeUInt32BE(body.length);
    this.#socket.cork();
    this.#socket.write(head);
    this.#socket.write(body);
    this.#socket.uncork();
  }

  #cut(receive: (message: unknown) => void): void {
    for (;;) {
      const length = this.#nextLength();
      if (length === undefined || this.#bytes < 4 + length) return;
      const all = this.#joined();
      this.#keep(all.subarray(4 + length));
      receive(JSON.parse(all.toString('utf8', 4, 4 + length)));
    }
  }

  #nextLength(): number | undefined {
    if (this.#bytes < 4) return undefined;
    const first = this.#chunks[0]!.length >= 4 ? this.#chunks[0]! : this.#joined();
    const length = first.readUInt32BE();
    if (length > maxFrameBytes) throw new RangeError(`A frame of ${length} bytes is over the limit.`);
    return length;
  }

  #joined(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [all];
    return all;
  }

  #keep(rest: Buffer): void {
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#bytes = rest.length;
  }
}
