import type { Outcome } from './cells.ts';
import { type CopyResult, type Phase, phases, type Run, s3Product, type Tool } from './copying.ts';
import type { DelayResult } from './delay.ts';
import type { Machine } from './machine.ts';
import type { MemoryResult } from './memory.ts';
import type { PassResult } from './passes.ts';
import { flagsOf } from './rclone.ts';
import type { RequestsResult } from './requests.ts';
import { highest, median, quantile } from './statistics.ts';

export interface Recorded extends Outcome {
  readonly name: string;
  readonly startedMs: number;
  /** Average load of the last minute when it began. */
  readonly load: number;
  readonly tookMs: number;
}

export interface Results {
  readonly machine: Machine;
  readonly cells: Recorded[];
}

/** What the figures have to reach, as the project asked for it. */
const wanted = { latency: 1, large: 1.2, serverBound: 0.95, delay: 1.5, rssAnonMiB: 256 };

/** A server that was busy for so large a share of one processor, or both processors together, was the limit. */
const serverBusyShare = 0.8;
const machineBusyShare = 0.9;

export function render({ machine, cells }: Results, notes: string): string {
  const copies = cells.flatMap(({ copy }) => (copy ? [copy] : []));
  const parts = [
    introduction(machine, cells, copies),
    '## Copying\n',
    howCopied(),
    ...phases.map((phase) => copyTable(phase, copies)),
    '## Processor and memory of the same runs\n',
    'Medians; memory is the highest RssAnon of all rounds. `server` is the busier of the two servers, `all` everything ' +
      'together (client, servers, proxies), both as shares of one processor while the client ran; the machine has ' +
      `${machine.processors.split(' ')[0]}.\n`,
    costTable(copies),
    '## How rclone was set\n',
    tuningTable(copies),
    delayPart(cells.flatMap(({ delay }) => (delay ? [delay] : []))),
    memoryPart(cells, copies),
    requestPart(cells.flatMap(({ requests }) => (requests ? [requests] : []))),
    '## What falls short\n',
    shortfalls(cells, copies),
    notes,
    '## Cells of this run\n',
    table(
      ['cell', 'rounds', 'began (UTC)', 'load', 'took'],
      cells.map((cell) => [
        cell.name,
        roundsOf(cell),
        new Date(cell.startedMs).toISOString().slice(0, 16).replace('T', ' '),
        cell.load.toFixed(1),
        `${(cell.tookMs / 1000).toFixed(0)} s`,
      ]),
    ),
  ];
  return `${parts
    .filter((part) => part !== '')
    .join('\n')
    .trimEnd()}\n`;
}

function roundsOf({ copy, delay }: Recorded): string {
  if (copy) return String(copy.runs.isobar.first.length);
  return delay ? `${delay.samples.length} writes` : '1';
}

function introduction(machine: Machine, cells: readonly Recorded[], copies: readonly CopyResult[]): string {
  const rounds = copies.map(({ runs }) => runs.isobar.first.length);
  const spread = rounds.length === 0 ? 'no' : `${Math.min(...rounds)} to ${highest(rounds)}`;
  const minutes = cells.reduce((sum, { tookMs }) => sum + tookMs, 0) / 60_000;
  const loads = cells.map(({ load }) => load);
  return `# Isobar beside rclone

Written by \`npm run bench\`; nothing here is typed by hand but the notes at the end (\`bench/notes.md\`).

- Machine: ${machine.processors}, ${machine.memoryGiB.toFixed(0)} GiB, ${machine.system}; clients, servers and proxies share it.
- Isobar ${machine.isobar}, compiled as it is published, on Node ${machine.node}.
- rclone ${machine.rclone}, built by \`npm run servers\`.
- Servers: S3 is ${s3Product} ${machine.versitygw}, GCS is gcs-memory (this repository's own, in memory, since no
  other here keeps preconditions; see docs/test-servers.md), Azure is azurite ${machine.azurite}. Both clients use the same ones; their data are
  ${machine.serverData}, Isobar's ledger is on the disk.
- This run took ${minutes.toFixed(0)} minutes and ${spread} measured rounds per cell. The load average when cells began was ${Math.min(...loads).toFixed(1)} to
  ${highest(loads).toFixed(1)}: what is above about 2 is other work on the machine, which the alternation spreads over both clients.
  ${few(rounds)}

To reproduce: \`npm run servers\`, then \`npm run bench\`; \`npm run bench -- --cells s3-gcs/4KiB,delay --rounds 5\` measures a part,
\`--merge\` keeps the rest.
`;
}

function few(rounds: readonly number[]): string {
  const under = rounds.filter((count) => count < 5).length;
  return under === 0
    ? 'Every copying cell has five rounds or more.'
    : `${under} of ${rounds.length} copying cells have fewer than five rounds (last table): their medians are weak.`;
}

function howCopied(): string {
  return `Each client copies from a bucket of its own, filled alike by plain PUTs, to a fresh bucket of the same target server: a
first copy, a pass without change, a pass after 1% of the objects (at least one) were overwritten at the source. The
clients take turns, and who begins changes with the round. Times are whole processes, start to end, medians; Isobar starts
from an empty state folder, so that its first copy includes probing what both stores promise. \`pass\` is Isobar's pass by its
own clock: without the start of Node and of the program, without the probing. rclone's time has its start in it, so that a
ratio over \`pass\` flatters Isobar; it tells where the time goes and is not the result. After each run the target is listed, and a client that left
something out would end the benchmark. \`ratio\` is rclone's time over Isobar's: above 1 Isobar is faster. With latency,
every server is behind a proxy that adds a round trip of 20 ms.

Checks are equal, or in rclone's favour: rclone compares size and MD5 from the listings (\`--checksum\`), sends the MD5 along with
an upload and asks for no head (\`--s3-no-head\`). Isobar compares size, token and time from the listings with its ledger, reads
by If-Match, writes under a condition, computes SHA-256 over every body, keeps it with the object together with metadata
and version, and remembers each key durably before it counts as copied.
`;
}

const phaseTitles: Readonly<Record<Phase, string>> = {
  first: 'First copy',
  same: 'Pass without change',
  changed: 'Pass with 1% changed',
};

function copyTable(phase: Phase, copies: readonly CopyResult[]): string {
  const rows = copies.map((copy) => {
    const { workload, setting } = copy.cell;
    const [ours, theirs] = [seconds(copy, 'isobar', phase), seconds(copy, 'rclone', phase)];
    const moved = phase === 'changed' ? workload.changed : workload.objects;
    const rate = (time: number) =>
      phase === 'first' && workload.bytes >= 1024 * 1024
        ? `${((moved * workload.bytes) / 2 ** 20 / time).toFixed(0)} MiB/s`
        : `${(workload.objects / time).toFixed(0)} keys/s`;
    const pass = median(copy.runs.isobar[phase].map((run) => run.passSeconds));
    const range = (tool: Tool) => {
      const all = copy.runs[tool][phase].map((run) => run.seconds);
      return `${Math.min(...all).toFixed(2)}–${highest(all).toFixed(2)}`;
    };
    return [
      routeOf(copy),
      `${workload.objects} × ${sizeText(workload.bytes)}`,
      setting.name,
      `${ours.toFixed(2)} s (${range('isobar')})`,
      `${pass.toFixed(2)} s`,
      `${theirs.toFixed(2)} s (${range('rclone')})`,
      rate(ours),
      rate(theirs),
      `**${(theirs / ours).toFixed(2)}**`,
    ];
  });
  const head = ['route', 'objects', 'setting', 'Isobar', 'pass', 'rclone', 'Isobar', 'rclone', 'ratio'];
  return `### ${phaseTitles[phase]}\n\n${table(head, rows)}`;
}

function costTable(copies: readonly CopyResult[]): string {
  const head = [
    ...['route', 'objects', 'setting', 'phase', 'Isobar CPU', 'rclone CPU', 'Isobar RssAnon', '(VmHWM)'],
    ...['rclone RssAnon', 'server, Isobar', 'server, rclone', 'all, Isobar', 'all, rclone'],
  ];
  const rows = copies.flatMap((copy) =>
    phases.map((phase) => {
      const of = (tool: Tool, field: (run: Run) => number) => median(copy.runs[tool][phase].map(field));
      const most = (tool: Tool, field: (run: Run) => number) => highest(copy.runs[tool][phase].map(field));
      const { workload, setting } = copy.cell;
      return [
        routeOf(copy),
        `${workload.objects} × ${sizeText(workload.bytes)}`,
        setting.name,
        phaseTitles[phase].toLowerCase(),
        `${of('isobar', (run) => run.cpuSeconds).toFixed(2)} s`,
        `${of('rclone', (run) => run.cpuSeconds).toFixed(2)} s`,
        `${most('isobar', (run) => run.rssAnonMiB).toFixed(0)} MiB`,
        `${most('isobar', (run) => run.vmHwmMiB).toFixed(0)} MiB`,
        `${most('rclone', (run) => run.rssAnonMiB).toFixed(0)} MiB`,
        percent(of('isobar', serverShare)),
        percent(of('rclone', serverShare)),
        percent(of('isobar', allShare)),
        percent(of('rclone', allShare)),
      ];
    }),
  );
  return table(head, rows);
}

function tuningTable(copies: readonly CopyResult[]): string {
  const rows = copies.map((copy) => [
    routeOf(copy),
    `${copy.cell.workload.objects} × ${sizeText(copy.cell.workload.bytes)}`,
    copy.cell.setting.name,
    copy.tried.map(({ tuning, seconds }) => `${tuning.name}: ${seconds.toFixed(2)} s`).join('; '),
    `**${copy.tuning.name}**`,
  ]);
  const flags = [...new Map(copies.map(({ tuning }) => [tuning.name, flagsOf(tuning)])).entries()];
  return `First copies with each, the best of the tries before the rounds; the fastest took part in the rounds.

${table(['route', 'objects', 'setting', 'tried', 'taken'], rows)}
The command lines, \`rclone sync source:BUCKET target:BUCKET\` with:

${flags.map(([name, text]) => `- ${name}: \`${text}\``).join('\n')}
`;
}

function delayPart(delays: readonly DelayResult[]): string {
  if (delays.length === 0) return '';
  const rows = delays.map(({ targets, setting, samples }) => {
    const total = samples.map((one) => one.totalMs);
    const ack = samples.map((one) => one.ackMs);
    const bare = samples.map((one) => one.copyMs);
    const put = samples.map((one) => one.putMs);
    const ms = (values: readonly number[], share: number) => `${quantile(values, share).toFixed(1)}`;
    return [
      `${targets.length + 1} (${[s3Product, ...targets].join(', ')})`,
      setting.name,
      `${ms(ack, 0.5)} / ${ms(ack, 0.99)}`,
      `${ms(total, 0.5)} / ${ms(total, 0.99)}`,
      `${ms(put, 0.5)} / ${ms(put, 0.99)}`,
      `${ms(bare, 0.5)} / ${ms(bare, 0.99)}`,
      `**${(quantile(total, 0.5) / quantile(bare, 0.5)).toFixed(2)}**`,
      `${(quantile(total, 0.5) - quantile(bare, 0.5)).toFixed(1)} ms`,
    ];
  });
  const head = [
    'sites',
    'setting',
    'acknowledged',
    'at the last target',
    'bare PUT',
    'bare GET+PUT',
    'ratio',
    'more',
  ];
  return `## From a write to the last target

${delays[0]!.samples.length} writes of 4 KiB, one at a time, through the library with \`watch\` running; milliseconds, p50 / p99. The clock starts
when \`put\` is called, so the PUT at the first site and all that makes it durable there is part of it. The end is the last
target's answer to its PUT; a GET afterwards is checked. \`bare GET+PUT\` are the same drivers called by themselves in the
same process, alternating with the writes: one GET at the source, then one PUT at each target at once.

${table(head, rows)}`;
}

function memoryPart(cells: readonly Recorded[], copies: readonly CopyResult[]): string {
  const memories = cells.flatMap(({ memory }) => (memory ? [memory] : []));
  const passes = cells.flatMap(({ pass }) => (pass ? [pass] : []));
  const runs = copies.flatMap((copy) => phases.flatMap((phase) => copy.runs.isobar[phase]));
  const lines = ['## Memory\n'];
  if (runs.length > 0) {
    lines.push(
      `The highest RssAnon of Isobar in all ${runs.length} runs above: ${highest(runs.map((run) => run.rssAnonMiB)).toFixed(0)} MiB.\n`,
    );
  }
  if (memories.length > 0)
    lines.push('First copies from S3 to S3 on loopback by Isobar alone:\n', memoryTable(memories));
  if (passes.length > 0) lines.push(passTable(passes));
  return lines.length === 1 ? '' : lines.join('\n');
}

function memoryTable(memories: readonly MemoryResult[]): string {
  const rows = memories.map(({ workload, first }) => [
    `${workload.objects} × ${sizeText(workload.bytes)}`,
    `${first.seconds.toFixed(2)} s`,
    `${((workload.objects * workload.bytes) / 2 ** 20 / first.seconds).toFixed(0)} MiB/s`,
    `${first.rssAnonMiB.toFixed(0)} MiB`,
    `${first.vmHwmMiB.toFixed(0)} MiB`,
  ]);
  return table(['objects', 'time', 'rate', 'RssAnon', 'VmHWM'], rows);
}

function passTable(passes: readonly PassResult[]): string {
  const rows = passes.map((pass) => [
    pass.keys.toLocaleString('en'),
    `${pass.seconds.toFixed(2)} s`,
    `${Math.round(pass.keys / pass.seconds).toLocaleString('en')} keys/s`,
    `${pass.cpuSeconds.toFixed(2)} s`,
    `${pass.rssAnonMiB.toFixed(0)} MiB`,
    `${pass.vmHwmMiB.toFixed(0)} MiB`,
    String(pass.requests),
  ]);
  return `A comparing pass of two sites whose listings are made up in memory (pages of 1,000) against a real ledger on disk that knows
every key, nothing changed, as its own process (VmHWM counts the pages of the ledger's file that are mapped):

${table(['keys', 'pass', 'rate', 'CPU of the process', 'RssAnon', 'VmHWM', 'requests beside listings'], rows)}`;
}

function requestPart(results: readonly RequestsResult[]): string {
  if (results.length === 0) return '';
  const rows = results.map(({ target, workload, counts }) => [
    `${s3Product} → ${target}`,
    String(workload.objects),
    String(counts.isobar.ofObjects),
    String(counts.isobar.others),
    String(counts.rclone.ofObjects),
    String(counts.rclone.others),
  ]);
  const head = [
    'route',
    'objects',
    'Isobar, naming an object',
    'Isobar, others',
    'rclone, naming an object',
    'rclone, others',
  ];
  return `## Requests of a pass without change

Counted by an HTTP proxy before each server. \`others\` are pages of listings and, for Isobar, the markers that prove both
sites to be the ones they were.

${table(head, rows)}`;
}

/** Every figure that is under what was asked for, by how much. */
function shortfalls(cells: readonly Recorded[], copies: readonly CopyResult[]): string {
  const lines = [
    ...copies.flatMap((copy) => phases.flatMap((phase) => copyShortfall(copy, phase))),
    ...cells.flatMap(({ delay }) => (delay ? delayShortfall(delay) : [])),
    ...cells.flatMap(({ pass }) => (pass ? memoryShortfall(`the pass over ${pass.keys} keys`, pass) : [])),
    ...cells.flatMap(({ memory }) =>
      memory ? memoryShortfall(`${memory.workload.name} from S3 to S3`, memory.first) : [],
    ),
    ...copies.flatMap((copy) =>
      phases.flatMap((phase) => copy.runs.isobar[phase].slice(0, 1).flatMap(() => runShortfall(copy, phase))),
    ),
  ];
  const asked =
    'Asked for: a ratio of 1 with latency in every cell; on bare loopback 1.2 for 256 MiB from S3 to S3 and 0.95 where ' +
    `the server is the limit (taken as: a server busy for ${percent(serverBusyShare)} of a processor, or the machine ` +
    `for ${percent(machineBusyShare)}, in rclone's run); a delay with latency under 1.5 times the bare requests; RssAnon under 256 MiB.\n`;
  const list = lines.length === 0 ? 'Nothing.\n' : `${lines.map((line) => `- ${line}`).join('\n')}\n`;
  return `${asked}\n${list}`;
}

function copyShortfall(copy: CopyResult, phase: Phase): string[] {
  const { workload, setting } = copy.cell;
  const goal = goalOf(copy, phase);
  if (goal === undefined) return [];
  const [ours, theirs] = [seconds(copy, 'isobar', phase), seconds(copy, 'rclone', phase)];
  if (theirs / ours >= goal) return [];
  const pass = median(copy.runs.isobar[phase].map((run) => run.passSeconds));
  return [
    `${routeOf(copy)}, ${workload.objects} × ${sizeText(workload.bytes)}, ${setting.name}, ${phaseTitles[phase].toLowerCase()}: ` +
      `ratio ${(theirs / ours).toFixed(2)} instead of ${goal}; ${ours.toFixed(2)} s against ${theirs.toFixed(2)} s ` +
      `(Isobar's pass alone ${pass.toFixed(2)} s, over rclone's whole run ${(theirs / pass).toFixed(2)})`,
  ];
}

/** Undefined where only the figure was asked for. */
function goalOf(copy: CopyResult, phase: Phase): number | undefined {
  const { target, workload, setting } = copy.cell;
  if (setting.name === 'latency') return wanted.latency;
  if (target === s3Product && workload.name === '256MiB' && phase === 'first') return wanted.large;
  const server = median(copy.runs.rclone[phase].map(serverShare));
  const all = median(copy.runs.rclone[phase].map(allShare));
  return server >= serverBusyShare || all / 2 >= machineBusyShare ? wanted.serverBound : undefined;
}

function delayShortfall({ targets, setting, samples }: DelayResult): string[] {
  if (setting.name !== 'latency') return [];
  const ratio = median(samples.map((one) => one.totalMs)) / median(samples.map((one) => one.copyMs));
  return ratio < wanted.delay
    ? []
    : [`delay over ${targets.length + 1} sites: ${ratio.toFixed(2)} times the bare requests`];
}

function memoryShortfall(what: string, { rssAnonMiB }: { readonly rssAnonMiB: number }): string[] {
  return rssAnonMiB < wanted.rssAnonMiB ? [] : [`RssAnon of ${what}: ${rssAnonMiB.toFixed(0)} MiB`];
}

function runShortfall(copy: CopyResult, phase: Phase): string[] {
  const most = highest(copy.runs.isobar[phase].map((run) => run.rssAnonMiB));
  const { workload, setting } = copy.cell;
  return memoryShortfall(
    `${routeOf(copy)} ${workload.name} ${setting.name}, ${phaseTitles[phase].toLowerCase()}`,
    {
      rssAnonMiB: most,
    },
  );
}

function seconds(copy: CopyResult, tool: Tool, phase: Phase): number {
  return median(copy.runs[tool][phase].map((run) => run.seconds));
}

function serverShare(run: Run): number {
  return run.busiestServerCpuSeconds / run.seconds;
}

function allShare(run: Run): number {
  return (run.cpuSeconds + run.serverCpuSeconds + run.proxyCpuSeconds) / run.seconds;
}

function routeOf({ cell }: CopyResult): string {
  const kinds: Partial<Record<string, string>> = { [s3Product]: 'S3', 'gcs-memory': 'GCS', azurite: 'Azure' };
  return `S3→${kinds[cell.target] ?? cell.target}`;
}

function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size} ${units[unit]}`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return `${[line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}
