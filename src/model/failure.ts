/** What the caller should do; every code has exactly one remedy. */
export type Remedy = 'retry' | 'decide-again' | 'park';

/**
 * Why a store could not do what it was asked.
 *
 * retry:
 * - `unavailable`: no answer, a broken connection, 5xx; a write may still have taken effect
 * - `throttled`: the store asks for fewer requests (429, 503 SlowDown)
 * - `denied`: credentials or permission; the whole site is sick until a person mends it
 * - `misplaced`: the bucket, container or folder is absent, or the endpoint is not a store of this kind
 * - `full`: no space or quota left
 * - `corrupt`: a digest in flight differs from what the store reports
 * - `broken-listing`: a listing ended early, repeated itself or came out of order
 *
 * decide-again:
 * - `changed`: the object is no longer the one that was asked for (token mismatch on a read)
 * - `upload-lost`: the multipart upload or its parts are gone; start again
 *
 * park:
 * - `invalid`: it can never be taken as it is (key too long, metadata over the store's limit, a stamp far ahead)
 * - `unsupported`: the store cannot promise the condition that was asked for
 * - `unmerged`: who was asked to merge two writes did not
 */
export type StoreFailureCode =
  | 'unavailable'
  | 'throttled'
  | 'denied'
  | 'misplaced'
  | 'full'
  | 'corrupt'
  | 'broken-listing'
  | 'changed'
  | 'upload-lost'
  | 'invalid'
  | 'unsupported'
  | 'unmerged';

const remedies: Record<StoreFailureCode, Remedy> = {
  unavailable: 'retry',
  throttled: 'retry',
  denied: 'retry',
  misplaced: 'retry',
  full: 'retry',
  corrupt: 'retry',
  'broken-listing': 'retry',
  changed: 'decide-again',
  'upload-lost': 'decide-again',
  invalid: 'park',
  unsupported: 'park',
  unmerged: 'park',
};

export class StoreFailure extends Error {
  override readonly name = 'StoreFailure';
  readonly code: StoreFailureCode;
  /** When the store says how long to wait (Retry-After), in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** The store was surely not asked. */
  readonly unsent: boolean;

  /** `message` is for a person: what happened, why, what to do. It never holds a secret. */
  constructor(
    code: StoreFailureCode,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number; unsent?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.unsent = options.unsent ?? false;
  }

  get remedy(): Remedy {
    return remedies[this.code];
  }
}

/** The ledger or the bus could not do what it was asked; nothing of it may be taken as done. */
export type StateFailureCode =
  /** Gone for now: try again. */
  | 'unavailable'
  /** No space left on the device. */
  | 'full'
  /** The file is damaged, or written by a newer program: a person must act. */
  | 'unreadable';

export class StateFailure extends Error {
  override readonly name = 'StateFailure';
  readonly code: StateFailureCode;

  constructor(code: StateFailureCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}
