import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';

/** What the JSON API says when it refuses. */
interface ApiError {
  readonly message: string;
  readonly reasons: readonly string[];
}

/** Any of these is about the rate, whatever the status. */
const throttlingReasons = ['rateLimitExceeded', 'userRateLimitExceeded', 'tooManyRequests'];
/** About one object and not about the site: a hold or a retention period that has not ended. */
const retentionReasons = ['retentionPolicyNotMet', 'objectUnderActiveHold', 'forbiddenByRetentionPolicy'];

export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** What was attempted, for a person: `write "a.txt" to bucket photos`. */
  readonly what: string;
  /** A download's refusal is plain text, everything else's is JSON. */
  readonly media?: boolean;
}

export function failureOf(refusal: Refusal): StoreFailure {
  const api = parseApiError(refusal.text);
  const code = codeOf(refusal, api);
  const said = api?.message ?? `HTTP ${refusal.status}`;
  const retryAfterMs = retryAfter(refusal.headers['retry-after']);
  return new StoreFailure(code, `GCS did not ${refusal.what}: ${said}${remedyOf(code, refusal.status)}`, {
    cause: { status: refusal.status, reasons: api?.reasons ?? [], text: refusal.text.slice(0, 500) },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function codeOf({ status, media = false }: Refusal, api: ApiError | undefined): StoreFailureCode {
  if (status === 429 || api?.reasons.some((reason) => throttlingReasons.includes(reason))) return 'throttled';
  if (status === 408 || status >= 500) return 'unavailable';
  if (api === undefined && !media) return 'misplaced';
  if (api?.reasons.some((reason) => retentionReasons.includes(reason))) return 'invalid';
  if (api?.reasons.includes('userProjectMissing')) return 'denied';
  if (status === 401 || status === 403) return 'denied';
  if (status === 400) return wrongChecksum(api) ? 'corrupt' : 'invalid';
  if (status === 411 || status === 413) return 'invalid';
  return 'misplaced';
}

/**
 * A body that arrived damaged is refused with the code of any other bad request, so here the words decide;
 * without them the failure is only parked instead of repeated.
 */
function wrongChecksum(api: ApiError | undefined): boolean {
  return api !== undefined && /\b(crc32c|md5)\b.*(match|!=)/i.test(api.message);
}

function remedyOf(code: StoreFailureCode, status: number): string {
  if (code === 'misplaced' && status === 404) return '; check the name of the bucket';
  if (code === 'misplaced') return '; this is not a GCS endpoint: check `endpoint`';
  if (code === 'denied' && status === 401) return '; check the credentials';
  if (code === 'denied' && status === 403) return '; grant roles/storage.objectUser on the bucket';
  return '';
}

/** Undefined when the text is not an error of this API. */
function parseApiError(text: string): ApiError | undefined {
  try {
    const parsed = JSON.parse(text) as {
      error?: { message?: unknown; errors?: Array<{ reason?: unknown }> };
    };
    if (typeof parsed.error !== 'object' || parsed.error === null) return undefined;
    const { message, errors } = parsed.error;
    return { message: String(message), reasons: (errors ?? []).map((entry) => String(entry.reason)) };
  } catch {
    return undefined;
  }
}

function retryAfter(header: string | undefined): number | undefined {
  const seconds = Number(header);
  return header === undefined || !Number.isFinite(seconds) || seconds < 0 ? undefined : seconds * 1000;
}

export function changed(key: string): StoreFailure {
  return new StoreFailure('changed', `"${key}" is no longer the write that was asked for; look again`);
}
