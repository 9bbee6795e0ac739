import { Agent, createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { S3SiteConfig, ServerName, SiteConfig } from '../test/servers/start.ts';
import { startServer } from '../test/servers/start.ts';
import { s3Product, type Tool } from './copying.ts';
import { Isobar } from './isobar.ts';
import { measureDone } from './measured.ts';
import { rcloneCommand, tuningsFor } from './rclone.ts';
import { fill, type Workload } from './workload.ts';

export interface Requests {
  /** Whose path or query names one of the objects. */
  readonly ofObjects: number;
  /** Pages of listings, the marker, and whatever else does not grow with the objects one by one. */
  readonly others: number;
}

export interface RequestsResult {
  readonly target: ServerName;
  readonly workload: Workload;
  /** Of a pass without change, counted before both servers. */
  readonly counts: Readonly<Record<Tool, Requests>>;
}

export async function countRequests(target: ServerName, workload: Workload): Promise<RequestsResult> {
  const source = await startServer(s3Product);
  const other = await startServer(target);
  const [before, behind] = [await startCounter(source.port), await startCounter(other.port)];
  const counters = [before, behind];
  const counted = async (run: () => Promise<unknown>): Promise<Requests> => {
    for (const counter of counters) counter.reset();
    await run();
    const sum = (field: keyof Requests) => before.counts[field] + behind.counts[field];
    return { ofObjects: sum('ofObjects'), others: sum('others') };
  };
  try {
    const from = source.siteConfig(await source.newBucket()) as S3SiteConfig;
    await fill(from, workload);
    const place = async () => behind.siteConfig(other.siteConfig(await other.newBucket()) as SiteConfig);
    const isobar = new Isobar({ source: before.siteConfig(from), target: await place() });
    const rclone = rcloneCommand(before.siteConfig(from), await place(), tuningsFor(workload)[1]!);
    await measureDone('isobar', isobar.command());
    await measureDone('rclone', rclone);
    const counts = {
      isobar: await counted(() => measureDone('isobar', isobar.command())),
      rclone: await counted(() => measureDone('rclone', rclone)),
    };
    isobar.remove();
    return { target, workload, counts };
  } finally {
    for (const counter of counters) counter.stop();
    await source.stop();
    await other.stop();
  }
}

interface Counter {
  readonly counts: Requests;
  reset(): void;
  siteConfig<C extends SiteConfig>(site: C): C;
  stop(): void;
}

/** An HTTP proxy that counts; nothing behind it is timed. */
async function startCounter(targetPort: number): Promise<Counter> {
  const counts = { ofObjects: 0, others: 0 };
  const agent = new Agent({ keepAlive: true });
  const server = createServer((incoming, outgoing) => {
    if (/object-\d{7}/.test(decodeURIComponent((incoming.url ?? '').split('?')[0] ?? '')))
      counts.ofObjects += 1;
    else counts.others += 1;
    const { method, url: path, headers } = incoming;
    const ahead = httpRequest(
      { host: '127.0.0.1', port: targetPort, method, path, headers, agent },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
        answer.pipe(outgoing);
      },
    );
    ahead.on('error', () => outgoing.destroy());
    incoming.pipe(ahead);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const text = (at: number) => `127.0.0.1:${at}`;
  return {
    counts,
    reset: () => Object.assign(counts, { ofObjects: 0, others: 0 }),
    siteConfig: (site) =>
      JSON.parse(JSON.stringify(site).replaceAll(text(targetPort), text(port))) as typeof site,
    stop: () => {
      server.closeAllConnections();
      server.close();
      agent.destroy();
    },
  };
}
