import { StoreFailure } from '../../model/failure.ts';
import type { Capabilities, Condition, StoreLimits } from '../../ports/object-store.ts';
import type { HttpAnswer, HttpSettings } from '../http/send.ts';
import { S3Client, type S3Clock, type S3Request, systemClock } from './client.ts';
import { isAmazon, limitsOf, type S3Config, s3Capabilities } from './config.ts';
import { hidesMd5, looksLikeMd5 } from './digests.ts';
import { type KeyRules, keyRefusal } from './keys.ts';
import { type MetadataRules, metadataRules } from './metadata.ts';
import { parseToken, quoted, unquoted } from './token.ts';

export interface S3Options {
  /** What this server promises, where it is less than Amazon S3; found by a probe. */
  readonly capabilities?: Capabilities;
  /** Default `any`, as Amazon. */
  readonly keys?: KeyRules;
  readonly clock?: S3Clock;
  readonly http?: HttpSettings;
}

/** What an answer about an object that exists proves of its bucket, and for how long. */
const proofMs = 5_000;

/** One bucket below the site's prefix: what all verbs share. */
export class S3Bucket {
  readonly client: S3Client;
  readonly limits: StoreLimits;
  /** Of the site, put before every key. */
  readonly prefix: string;
  /**
   * Whether an ETag in a listing may be taken for an MD5. Listings do not tell encrypted objects apart, so
   * the first one that is met ends this for the bucket.
   */
  etagsAreMd5 = true;
  /** An answer has reported the CRC-32 of what was sent, and an ETag that was its MD5: the one vouches for the other. */
  reportsChecksums = false;
  readonly #isAmazon: boolean;
  #capabilities: Capabilities;
  #keyRules: KeyRules;
  #metadataRules: MetadataRules;
  #provenMs = Number.NEGATIVE_INFINITY;

  constructor(config: S3Config, options: S3Options) {
    this.client = new S3Client(config, options.clock ?? systemClock, options.http);
    this.prefix = config.prefix ?? '';
    this.limits = limitsOf(config);
    this.#isAmazon = isAmazon(config);
    this.#capabilities = options.capabilities ?? s3Capabilities;
    this.#keyRules = options.keys ?? 'any';
    this.#metadataRules = this.#rulesForMetadata();
  }

  get capabilities(): Capabilities {
    return this.#capabilities;
  }

  get keyRules(): KeyRules {
    return this.#keyRules;
  }

  get metadataRules(): MetadataRules {
    return this.#metadataRules;
  }

  settle(found: Capabilities): void {
    this.#capabilities = found;
    this.#keyRules = found.keys ?? 'any';
    this.#metadataRules = this.#rulesForMetadata();
  }

  #rulesForMetadata(): MetadataRules {
    return metadataRules(this.#isAmazon, this.limits, this.#capabilities.tags);
  }

  /** The key in the bucket; `invalid` for one that no request may carry. */
  keyOf(key: string): string {
    const bytes = Buffer.byteLength(key);
    // An empty one would be a request to the bucket itself.
    if (bytes === 0) throw invalid('the key is empty');
    if (bytes > this.limits.maxKeyBytes) {
      const below = this.prefix === '' ? '' : ` below the prefix "${this.prefix}"`;
      throw invalid(`the key is ${bytes} bytes long; S3 takes ${this.limits.maxKeyBytes}${below}`);
    }
    return this.prefix + key;
  }

  /** For a write; `invalid` where this server would bend the key. */
  keyToWrite(key: string, size: number): string {
    const whole = this.keyOf(key);
    const refusal = keyRefusal(whole, this.keyRules, size > 0);
    if (refusal === undefined) return whole;
    throw invalid(`this S3 server keeps keys as paths of files and cannot hold a key with ${refusal}`);
  }

  /** This server can have no object of such a name, and would answer with another one. */
  cannotHold(key: string): boolean {
    return keyRefusal(this.prefix + key, this.keyRules, false) !== undefined;
  }

  require(verb: 'create' | 'replace' | 'complete' | 'remove', condition: Condition): void {
    const assurance = this.capabilities[verb];
    if (assurance === 'conditional') return;
    const header = condition.kind === 'absent' ? 'If-None-Match' : 'If-Match';
    const what = `this S3 server cannot promise ${header} on ${verb} (it is declared "${assurance}")`;
    throw new StoreFailure('unsupported', `${what}; use a server that keeps this condition`);
  }

  /** The ETag of an answer about an object; `misplaced` when there is none, which S3 never does. */
  etagOf(answer: HttpAnswer, request: S3Request): string {
    const etag = unquoted(answer.headers['etag'] ?? '');
    if (etag === '') throw this.client.notS3(answer, request);
    this.meet(etag, answer);
    return etag;
  }

  meet(etag: string, answer: HttpAnswer): void {
    this.prove();
    if (looksLikeMd5(etag) && hidesMd5(answer.headers)) this.etagsAreMd5 = false;
  }

  /** Something answered that only an existing bucket answers. */
  prove(): void {
    this.#provenMs = this.client.clock.monotonicMs();
  }

  get isProven(): boolean {
    return this.client.clock.monotonicMs() - this.#provenMs < proofMs;
  }
}

/** S3 knows no other condition than one on the ETag. */
export function conditionHeader(condition: Condition): Readonly<Record<string, string>> {
  return condition.kind === 'absent'
    ? { 'if-none-match': '*' }
    : { 'if-match': quoted(parseToken(condition.token).etag) };
}

export function invalid(what: string): StoreFailure {
  return new StoreFailure('invalid', what);
}
