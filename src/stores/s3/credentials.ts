import { StoreFailure } from '../../model/failure.ts';
import type { S3Config } from './config.ts';
import type { SigningKeys } from './signer.ts';

/** Keys for the next request; a promise only when they must be fetched. */
export interface KeySource {
  keys(): SigningKeys | Promise<SigningKeys>;
  /** The store says that the keys have expired: fetch others. */
  forget(): void;
}

interface ExpiringKeys extends SigningKeys {
  readonly expiration?: Date | undefined;
}

export type KeyProvider = () => Promise<ExpiringKeys>;

/** From here on new keys are fetched while the old ones still serve. */
const refreshBeforeMs = 5 * 60_000;
/** And from here on requests wait for the new ones. */
const unusableBeforeMs = 10_000;
/** Between two attempts to fetch while the old keys still serve. */
const pauseBetweenRefreshesMs = 10_000;

/** `denied` when only half of a key pair is given. */
export function keySourceOf(config: S3Config, nowMs: () => number): KeySource {
  const { accessKeyId, secretAccessKey, sessionToken } = config;
  if (accessKeyId !== undefined && secretAccessKey !== undefined) {
    const keys = { accessKeyId, secretAccessKey, sessionToken };
    return { keys: () => keys, forget: () => {} };
  }
  if (accessKeyId !== undefined || secretAccessKey !== undefined) {
    const what = `the configuration of bucket "${config.bucket}" gives only half of a key pair`;
    throw new StoreFailure(
      'denied',
      `${what}; give accessKeyId and secretAccessKey, or neither to use the credential chain of AWS`,
    );
  }
  return new RefreshedKeys(chainOf(config), nowMs);
}

/** The SDK's chain is loaded when the first request needs it: it is large, and most commands send none. */
function chainOf(config: S3Config): KeyProvider {
  let provider: KeyProvider | undefined;
  return async () => {
    if (provider === undefined) {
      const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
      const region = config.region;
      provider = defaultProvider(
        region === undefined ? {} : { clientConfig: { region: async () => region } },
      );
    }
    return provider();
  };
}

/** Keeps keys until shortly before they expire; one fetch at a time. */
export class RefreshedKeys implements KeySource {
  readonly #provide: KeyProvider;
  readonly #nowMs: () => number;
  #keys: ExpiringKeys | undefined;
  #fetching: Promise<SigningKeys> | undefined;
  #nextRefreshMs = 0;

  constructor(provide: KeyProvider, nowMs: () => number) {
    this.#provide = provide;
    this.#nowMs = nowMs;
  }

  keys(): SigningKeys | Promise<SigningKeys> {
    const keys = this.#keys;
    if (keys === undefined) return this.#fetch();
    if (keys.expiration === undefined) return keys;
    const leftMs = keys.expiration.getTime() - this.#nowMs();
    if (leftMs < unusableBeforeMs) return this.#fetch();
    if (leftMs < refreshBeforeMs && this.#nowMs() >= this.#nextRefreshMs) {
      this.#nextRefreshMs = this.#nowMs() + pauseBetweenRefreshesMs;
      // The old keys still serve, so a failure here is nobody's failure yet.
      this.#fetch().catch(() => {});
    }
    return keys;
  }

  forget(): void {
    this.#keys = undefined;
  }

  #fetch(): Promise<SigningKeys> {
    this.#fetching ??= this.#provide()
      .then(
        (keys) => {
          this.#keys = keys;
          return keys;
        },
        (cause: unknown) => {
          throw noKeys(cause);
        },
      )
      .finally(() => {
        this.#fetching = undefined;
      });
    return this.#fetching;
  }
}

function noKeys(cause: unknown): StoreFailure {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const what = `no AWS credentials could be found (${reason})`;
  const remedy =
    'set accessKeyId and secretAccessKey for the site, or give the process a profile, a role or AWS_ACCESS_KEY_ID';
  return new StoreFailure('denied', `${what}; ${remedy}`, { cause });
}
