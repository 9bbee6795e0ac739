import type { AccessToken, TokenCredential } from '@azure/identity';
import { StoreFailure } from '../../model/failure.ts';
import type { HttpRequest } from '../http/send.ts';
import type { Secret } from './config.ts';
import { sharedKeySignature } from './sign.ts';

/** Makes a request acceptable to the service; `path` may gain a query, `headers` an authorization. */
export type Authorize = (request: HttpRequest, signal: AbortSignal) => Promise<HttpRequest>;

/** What `@azure/identity` gives; a test may hand in its own. */
export type Credential = Pick<TokenCredential, 'getToken'>;

export interface Authorizer {
  readonly authorize: Authorize;
  /** After a 401: what was cached is not to be used again. */
  forget(): void;
}

export function authorizerFor(secret: Secret, nowMs: () => number, credential?: Credential): Authorizer {
  if (secret.kind === 'shared-key') {
    const { account, key } = secret;
    return {
      authorize: async (request) => withAuthorization(request, sharedKeySignature(request, account, key)),
      forget: () => {},
    };
  }
  if (secret.kind === 'sas') {
    return { authorize: async (request) => withQuery(request, secret.query), forget: () => {} };
  }
  return new BearerTokens(nowMs, credential);
}

function withAuthorization(request: HttpRequest, authorization: string): HttpRequest {
  return { ...request, headers: { ...request.headers, authorization } };
}

function withQuery(request: HttpRequest, query: string): HttpRequest {
  return { ...request, path: `${request.path}${request.path.includes('?') ? '&' : '?'}${query}` };
}

/** The same for every account and every cloud. */
const scope = 'https://storage.azure.com/.default';
/** Clocks differ, and a request may be long: a token this close to its end is not sent. */
const spareMs = 2 * 60_000;
/** A token is renewed this long before its end while the old one still serves. */
const renewBeforeEndMs = 10 * 60_000;
/** After a renewal that failed while the old token still serves. */
const renewalPauseMs = 30_000;

/** One token for all requests, renewed in time, asked for once however many wait. */
class BearerTokens implements Authorizer {
  readonly #nowMs: () => number;
  #credential: Credential | undefined;
  #token: AccessToken | undefined;
  #pending: Promise<AccessToken> | undefined;
  #nextRenewalMs = 0;

  constructor(nowMs: () => number, credential: Credential | undefined) {
    this.#nowMs = nowMs;
    this.#credential = credential;
  }

  readonly authorize: Authorize = async (request, signal) => {
    const token = this.#token;
    const now = this.#nowMs();
    if (token === undefined || token.expiresOnTimestamp - spareMs <= now) {
      return withAuthorization(request, `Bearer ${(await orAborted(this.#renewed(), signal)).token}`);
    }
    const renewAtMs = token.refreshAfterTimestamp ?? token.expiresOnTimestamp - renewBeforeEndMs;
    if (now >= renewAtMs && now >= this.#nextRenewalMs) {
      this.#nextRenewalMs = now + renewalPauseMs;
      // The old token still serves: a failure is told when it no longer does.
      this.#renewed().catch(() => {});
    }
    return withAuthorization(request, `Bearer ${token.token}`);
  };

  forget(): void {
    this.#token = undefined;
  }

  #renewed(): Promise<AccessToken> {
    this.#pending ??= this.#ask().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #ask(): Promise<AccessToken> {
    try {
      // Loaded when first needed: it takes longer to load than all else together.
      this.#credential ??= new (await import('@azure/identity')).DefaultAzureCredential();
      const token = await this.#credential.getToken(scope);
      if (token === null) throw new Error('the credential gave no token');
      this.#token = token;
      return token;
    } catch (cause) {
      throw new StoreFailure(
        'denied',
        'no token for Azure Storage from the default credential (environment, workload identity, managed ' +
          'identity, az login). Run `az login`, give this machine a managed identity, or set AZURE_TENANT_ID, ' +
          'AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; or configure `accountKey`, `sas` or `connectionString`.',
        { cause },
      );
    }
  }
}

/** The shared renewal goes on for the others when one caller gives up. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
