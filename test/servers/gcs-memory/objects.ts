import { createHash, type Hash } from 'node:crypto';
import { crc32c, encodeCrc32c } from './crc32c.ts';

/** What a client may set of an object. */
export interface Attributes {
  contentType?: string | undefined;
  contentEncoding?: string | undefined;
  contentDisposition?: string | undefined;
  contentLanguage?: string | undefined;
  cacheControl?: string | undefined;
  storageClass?: string | undefined;
  metadata?: Record<string, string> | undefined;
}

export interface StoredObject extends Attributes {
  readonly bucket: string;
  readonly name: string;
  readonly generation: string;
  metageneration: number;
  readonly body: readonly Buffer[];
  readonly size: number;
  readonly crc32c: string;
  /** Absent for composed objects, as at Google. */
  readonly md5Hash?: string | undefined;
  readonly componentCount?: number | undefined;
  readonly timeCreated: string;
  updated: string;
}

/** The query of a request, or the part of it that speaks of the source. */
export interface Conditions {
  readonly generationMatch?: string | undefined;
  readonly generationNotMatch?: string | undefined;
  readonly metagenerationMatch?: string | undefined;
  readonly metagenerationNotMatch?: string | undefined;
}

/** An answer that is no success; `reason` is what Google's clients look at. */
export class Refusal extends Error {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, reason: string, message = reason) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export function notFound(what: string): Refusal {
  return new Refusal(404, 'notFound', `No such ${what}`);
}

/** Throws unless the conditions hold. An absent object has generation 0. `notMatch` fails with 304 on reads. */
export function check(object: StoredObject | undefined, conditions: Conditions, reading = false): void {
  const { generationMatch, generationNotMatch, metagenerationMatch, metagenerationNotMatch } = conditions;
  const generation = object?.generation ?? '0';
  const metageneration = object === undefined ? undefined : String(object.metageneration);
  const given = [generationMatch, generationNotMatch, metagenerationMatch, metagenerationNotMatch];
  if (given.some((value) => value !== undefined && !/^\d+$/.test(value)))
    throw new Refusal(400, 'invalid', 'not a number');
  const failed = new Refusal(
    412,
    'conditionNotMet',
    'At least one of the pre-conditions you specified did not hold.',
  );
  const same = reading ? new Refusal(304, 'notModified') : failed;
  if (generationMatch !== undefined && generationMatch !== generation) throw failed;
  if (metagenerationMatch !== undefined && metagenerationMatch !== metageneration) throw failed;
  if (generationNotMatch !== undefined && generationNotMatch === generation) throw same;
  if (metagenerationNotMatch !== undefined && metagenerationNotMatch === metageneration) throw same;
}

/** Bytes with their digests, taken as they come. */
export class Content {
  readonly #md5: Hash | undefined;
  #crc = 0;
  #size = 0;
  readonly chunks: Buffer[] = [];

  /** Composed objects have no MD5. */
  constructor(withMd5 = true) {
    this.#md5 = withMd5 ? createHash('md5') : undefined;
  }

  add(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#md5?.update(chunk);
    this.#crc = crc32c(chunk, this.#crc);
    this.#size += chunk.length;
    this.chunks.push(chunk);
  }

  get size(): number {
    return this.#size;
  }

  get crc32c(): string {
    return encodeCrc32c(this.#crc);
  }

  get md5Hash(): string | undefined {
    return this.#md5?.copy().digest('base64');
  }
}

export interface Listing {
  readonly items: StoredObject[];
  readonly prefixes: string[];
  readonly nextPageToken?: string | undefined;
}

export interface ListQuery {
  readonly prefix: string;
  readonly delimiter: string;
  readonly startOffset: string;
  readonly endOffset: string;
  readonly pageToken: string;
  readonly maxResults: number;
}

/** One bucket. All is synchronous: a check and the change after it are one step. */
export class Bucket {
  readonly name: string;
  readonly #objects = new Map<string, StoredObject>();
  /** In the order of UTF-8. */
  readonly #names: string[] = [];
  readonly #lastWriteMs = new Map<string, number>();
  readonly #writesPerSecond: number;

  constructor(name: string, writesPerSecondPerName: number) {
    this.name = name;
    this.#writesPerSecond = writesPerSecondPerName;
  }

  get isEmpty(): boolean {
    return this.#objects.size === 0;
  }

  find(name: string): StoredObject | undefined {
    return this.#objects.get(name);
  }

  get(name: string, generation?: string): StoredObject {
    const found = this.#objects.get(name);
    if (found === undefined || (generation !== undefined && generation !== found.generation)) {
      throw notFound(`object: ${this.name}/${name}`);
    }
    return found;
  }

  put(
    name: string,
    content: Content,
    attributes: Attributes,
    conditions: Conditions,
    components?: number,
  ): StoredObject {
    checkName(name);
    checkMetadata(attributes.metadata);
    check(this.find(name), conditions);
    this.#limitRate(name);
    const now = new Date().toISOString();
    const object: StoredObject = {
      ...attributes,
      bucket: this.name,
      name,
      generation: nextGeneration(),
      metageneration: 1,
      body: content.chunks,
      size: content.size,
      crc32c: content.crc32c,
      md5Hash: content.md5Hash,
      componentCount: components,
      timeCreated: now,
      updated: now,
    };
    if (!this.#objects.has(name)) this.#names.splice(this.#position(name), 0, name);
    this.#objects.set(name, object);
    return object;
  }

  change(name: string, attributes: Attributes, conditions: Conditions): StoredObject {
    const object = this.get(name);
    check(object, conditions);
    checkMetadata(attributes.metadata);
    this.#limitRate(name);
    Object.assign(object, attributes, { updated: new Date().toISOString() });
    object.metageneration++;
    return object;
  }

  delete(name: string, generation: string | undefined, conditions: Conditions): void {
    check(this.get(name, generation), conditions);
    this.#objects.delete(name);
    this.#names.splice(this.#position(name), 1);
  }

  list(query: ListQuery): Listing {
    const items: StoredObject[] = [];
    const prefixes: string[] = [];
    const from = [query.prefix, query.startOffset, query.pageToken].sort(compareUtf8).at(-1) ?? '';
    for (let at = this.#position(from); at < this.#names.length; at++) {
      const name = this.#names[at] ?? '';
      if (
        !name.startsWith(query.prefix) ||
        (query.endOffset !== '' && compareUtf8(name, query.endOffset) >= 0)
      )
        break;
      const cut = query.delimiter === '' ? -1 : name.indexOf(query.delimiter, query.prefix.length);
      const folded = cut < 0 ? undefined : name.slice(0, cut + query.delimiter.length);
      if (folded !== undefined && folded === prefixes.at(-1)) continue;
      if (items.length + prefixes.length === query.maxResults)
        return { items, prefixes, nextPageToken: name };
      if (folded === undefined) items.push(this.get(name));
      else prefixes.push(folded);
    }
    return { items, prefixes };
  }

  /** The place of the first name that is not smaller. */
  #position(name: string): number {
    let low = 0;
    let high = this.#names.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareUtf8(this.#names[middle] ?? '', name) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #limitRate(name: string): void {
    if (this.#writesPerSecond === 0) return;
    const now = performance.now();
    const wait = 1000 / this.#writesPerSecond;
    if (now - (this.#lastWriteMs.get(name) ?? -wait) < wait) {
      const message = `The object ${this.name}/${name} exceeded the rate limit for object mutation operations`;
      throw new Refusal(429, 'rateLimitExceeded', message);
    }
    this.#lastWriteMs.set(name, now);
  }
}

let lastGeneration = 0;

/** Microseconds, as at Google, and never the same again. */
function nextGeneration(): string {
  lastGeneration = Math.max(lastGeneration + 1, Date.now() * 1000);
  return String(lastGeneration);
}

function checkName(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > 1024 || name === '.' || name === '..' || /[\r\n]/.test(name)) {
    throw new Refusal(400, 'invalid', 'Invalid object name');
  }
}

function checkMetadata(metadata: Record<string, string> | undefined): void {
  let bytes = 0;
  for (const [name, value] of Object.entries(metadata ?? {}))
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  if (bytes > 8192) throw new Refusal(400, 'invalid', 'Metadata is larger than 8 KiB');
}

/** JavaScript compares UTF-16, where surrogates come before U+E000 to U+FFFF; UTF-8 has them after. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
