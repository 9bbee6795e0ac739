/* What each server honours, by raw signed requests: `node test/servers/probe.ts [product...]`. Prints tables for
 * docs/test-servers.md. A cell says `yes`, or what came instead of what the real store would answer. */
import { probeAzure } from './probe-azure.ts';
import { probeEvents } from './probe-events.ts';
import { probeGcs } from './probe-gcs.ts';
import { probeS3 } from './probe-s3.ts';
import { availableServers, type ServerName, type StartOptions, startServer } from './start.ts';

export interface Finding {
  readonly what: string;
  readonly result: string;
}

export type Check = readonly [what: string, run: () => Promise<string>];

export async function runChecks(checks: readonly Check[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [what, run] of checks) {
    findings.push({ what, result: await run().catch((error: unknown) => `failed: ${String(error)}`) });
  }
  return findings;
}

/** `yes`, or the statuses that came. */
export function expectStatus(got: readonly number[], wanted: readonly number[]): string {
  return got.length === wanted.length && got.every((status, i) => status === wanted[i])
    ? 'yes'
    : `no: ${got.join(', ')}`;
}

export function expectEqual(got: string, wanted: string): string {
  return got === wanted ? 'yes' : `no: ${got.slice(0, 160)}`;
}

/**
 * Races `writers` against each other, `rounds` times. `yes` when each round had one winner, the losers were told
 * so (412 or 409), and what stands is the winner's.
 */
export async function race(
  rounds: number,
  writers: number,
  prepare: (round: number) => Promise<(writer: number) => Promise<number>>,
  standing: (round: number) => Promise<string>,
): Promise<string> {
  let bad = 0;
  const seen = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const write = await prepare(round);
    const statuses = await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
    const winners = statuses.flatMap((status, writer) => (status < 300 ? [writer] : []));
    const losersTold = statuses.every((status) => status < 300 || status === 412 || status === 409);
    const stands = await standing(round);
    if (winners.length === 1 && losersTold && stands === String(winners[0])) continue;
    bad++;
    seen.add(
      `${winners.length} won, others ${[...new Set(statuses.filter((s) => s >= 300))].join('/')}, stands ${stands}`,
    );
  }
  return bad === 0 ? 'yes' : `no: ${bad} of ${rounds} rounds, e.g. ${[...seen][0]}`;
}

function table(title: string, columns: readonly string[], results: readonly Finding[][]): string {
  const rows = (results[0] ?? []).map((finding, i) => [
    finding.what,
    ...results.map((r) => r[i]?.result ?? ''),
  ]);
  const lines = [['', ...columns], ['---', ...columns.map(() => '---')], ...rows];
  return `### ${title}\n\n${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}

function variantsOf(names: readonly ServerName[]): [ServerName, StartOptions][] {
  return names.flatMap((name): [ServerName, StartOptions][] =>
    name === 'ministack'
      ? [
          [name, {}],
          [name, { copyConditions: true }],
        ]
      : [[name, {}]],
  );
}

async function main(names: readonly string[]): Promise<void> {
  const chosen = availableServers().filter((name) => names.length === 0 || names.includes(name));
  const byKind = { s3: probeS3, gcs: probeGcs, azure: probeAzure } as const;
  for (const kind of ['s3', 'gcs', 'azure'] as const) {
    const columns: string[] = [];
    const results: Finding[][] = [];
    for (const [name, options] of variantsOf(chosen)) {
      const server = await startServer(name, options);
      try {
        if (server.kind !== kind) continue;
        columns.push([name, server.version, ...Object.keys(options)].join(' '));
        results.push(await byKind[kind](server as never));
      } finally {
        await server.stop();
      }
    }
    if (columns.length > 0) process.stdout.write(`${table(kind, columns, results)}\n`);
  }
  const sources = (['minio', 'versitygw', 'ministack'] as const).filter((name) => chosen.includes(name));
  const columns: string[] = [...sources];
  const events: Finding[][] = [];
  for (const name of sources) events.push(await probeEvents(name));
  if (chosen.includes('minio')) {
    columns.push('minio with webhookQueue');
    events.push(await probeEvents('minio', true));
  }
  if (columns.length > 0) process.stdout.write(table('bucket notifications', columns, events));
}

if (import.meta.main) await main(process.argv.slice(2));
