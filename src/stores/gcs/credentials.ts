import type { AuthClient } from 'google-auth-library';
import { StoreFailure } from '../../model/failure.ts';

/** Reads and writes objects; nothing about buckets or access lists. */
const scope = 'https://www.googleapis.com/auth/devstorage.read_write';

export interface Credentials {
  /** Throws `denied` or `unavailable`. */
  headers(signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
}

export const anonymous: Credentials = { headers: async () => ({}) };

/**
 * Application default credentials, or those of a service account's key file. The library is loaded with the
 * first request (it takes a while), keeps the token and renews it before it ends.
 */
export class GoogleCredentials implements Credentials {
  readonly #keyFile: string | undefined;
  #client: Promise<AuthClient> | undefined;

  constructor(keyFile: string | undefined) {
    this.#keyFile = keyFile;
  }

  async headers(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    signal.throwIfAborted();
    try {
      const client = await unlessAborted(this.#open(), signal);
      const { token } = await unlessAborted(client.getAccessToken(), signal);
      if (!token) throw new Error('no token was issued');
      return { authorization: `Bearer ${token}` };
    } catch (cause) {
      signal.throwIfAborted();
      throw credentialFailure(cause, this.#keyFile);
    }
  }

  #open(): Promise<AuthClient> {
    this.#client ??= this.#load().catch((error: unknown) => {
      // A key file may be put in place later, the next request looks again.
      this.#client = undefined;
      throw error;
    });
    return this.#client;
  }

  async #load(): Promise<AuthClient> {
    const { GoogleAuth, JWT } = await import('google-auth-library');
    if (this.#keyFile !== undefined) return new JWT({ keyFile: this.#keyFile, scopes: [scope] });
    return new GoogleAuth({ scopes: [scope] }).getClient();
  }
}

/** The library knows no signals; its request goes on and serves the next caller. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function credentialFailure(cause: unknown, keyFile: string | undefined): StoreFailure {
  const status = (cause as { status?: unknown }).status;
  const code = (cause as { code?: unknown }).code;
  const networkCodes = ['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EPIPE'];
  if ((typeof status === 'number' && status >= 500) || networkCodes.includes(String(code))) {
    return new StoreFailure(
      'unavailable',
      'Google did not issue a token: its token service cannot be reached',
      { cause },
    );
  }
  const remedy =
    keyFile === undefined
      ? 'run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS or give `keyFile`'
      : 'check that `keyFile` is the JSON key of a service account that still exists';
  // What the library says of a file that it cannot read as JSON quotes a piece of it, which may be the key.
  const quotes = keyFile !== undefined && status === undefined && code === undefined;
  const message = `there are no usable Google credentials: ${remedy}`;
  return new StoreFailure('denied', message, quotes ? {} : { cause });
}
