/** Between the data of two chunks, or after the last: an endless answer must not look busy. */
const maxBetweenBytes = 16 * 1024;

/** Takes the chunks of a body apart (RFC 9112, 7.1), however the bytes arrive. */
export class ChunkedBody {
  /** Of the chunk that is being read; undefined between chunks. */
  #left: number | undefined;
  #line = '';
  #betweenBytes = 0;
  #part: 'size' | 'data' | 'end-of-data' | 'trailers' | 'done' = 'size';

  get isDone(): boolean {
    return this.#part === 'done';
  }

  /**
   * Calls `take` with views of `bytes` that are body, and tells how many bytes it used; fewer than all only at the
   * end. Throws an `Error` for what is no chunked body.
   */
  read(bytes: Uint8Array, take: (piece: Uint8Array) => void): number {
    let at = 0;
    while (at < bytes.length && !this.isDone) {
      if (this.#part === 'data') {
        const piece = bytes.subarray(at, at + this.#left!);
        take(piece);
        at += piece.length;
        this.#left! -= piece.length;
        if (this.#left === 0) this.#part = 'end-of-data';
      } else at = this.#readLine(bytes, at);
    }
    return at;
  }

  #readLine(bytes: Uint8Array, from: number): number {
    const end = bytes.indexOf(0x0a, from);
    const to = end < 0 ? bytes.length : end;
    this.#line += Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
    this.#betweenBytes += to - from;
    if (this.#betweenBytes > maxBetweenBytes) throw new Error('the answer has chunks without data');
    if (end < 0) return to;
    if (!this.#line.endsWith('\r')) throw new Error('the answer has a malformed chunk');
    this.#lineEnded(this.#line.slice(0, -1));
    this.#line = '';
    return end + 1;
  }

  #lineEnded(line: string): void {
    if (this.#part === 'size') {
      const size = /^([0-9a-fA-F]{1,13})[ \t]*(?:;.*)?$/.exec(line);
      if (!size) throw new Error('the answer has a chunk without a size');
      this.#left = Number.parseInt(size[1]!, 16);
      this.#part = this.#left === 0 ? 'trailers' : 'data';
      this.#betweenBytes = 0;
    } else if (this.#part === 'end-of-data') {
      if (line !== '') throw new Error('the answer has a chunk that is longer than its size');
      this.#part = 'size';
    } else if (line === '') this.#part = 'done';
  }
}
