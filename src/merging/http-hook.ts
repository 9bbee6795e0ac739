import { HookAway, type HookTransport, hookLimits } from './hook.ts';
import { HookRefused } from './hook-answer.ts';

/** As the global one. */
export type Fetch = (url: string, options: RequestInit) => Promise<Response>;

/**
 * Posts the request. Redirects are not followed: bodies go to the address that the configuration names, and nowhere
 * else. At most `hookLimits.answerBytes` of the answer are read.
 */
export function httpTransport(url: string, fetch: Fetch = globalThis.fetch): HookTransport {
  return async (request, signal) => {
    const response = await posted(fetch, url, request, signal);
    try {
      judge(response);
      return await readBounded(response);
    } finally {
      // Lets the connection go where the answer was not read to its end.
      await response.body?.cancel().catch(() => undefined);
    }
  };
}

async function posted(
  fetch: Fetch,
  url: string,
  request: Uint8Array,
  signal: AbortSignal,
): Promise<Response> {
  try {
    return await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: Buffer.from(request),
      redirect: 'manual',
      signal,
    });
  } catch (error) {
    throw away(error);
  }
}

/** The reason stands in the cause: fetch itself says only that it failed. */
function away(error: unknown): HookAway {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new HookAway(`no answer: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause: error,
  });
}

function judge({ status }: Response): void {
  if (status === 200) return;
  if (status >= 300 && status < 400)
    throw new HookRefused(`it answered ${status}; redirects are not followed`);
  if (status >= 500 || status === 408 || status === 429) throw new HookAway(`it answered ${status}`);
  throw new HookRefused(`it answered ${status} instead of 200`);
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const announced = Number(response.headers.get('content-length') ?? 0);
  if (announced > hookLimits.answerBytes) throw tooLong(`${announced} bytes`);
  const reader = response.body?.getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
      size += read.value.length;
      if (size > hookLimits.answerBytes) throw tooLong('longer');
      pieces.push(read.value);
    }
  } catch (error) {
    if (error instanceof HookRefused) throw error;
    throw away(error);
  } finally {
    await reader?.cancel().catch(() => undefined);
    reader?.releaseLock();
  }
  return Buffer.concat(pieces);
}

function tooLong(what: string): HookRefused {
  return new HookRefused(`its answer is ${what}; the limit is ${hookLimits.answerBytes} bytes`);
}
