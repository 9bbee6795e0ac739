import type { Config } from '../config/load.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type { UndoOptions, UndoReport, UndoStep } from './undo.ts';

export type { UndoOptions, UndoReport, UndoStep };

import type { KeptWrites } from './api-conflicts.ts';

/**
 * What the commands need of the engine. With `--json` the answers are printed as they are, with a `type` put
 * before the other fields: their fields are documented in docs/cli.md, and scripts depend on them.
 *
 * Times end with `Ms` and are milliseconds since 1970, spans of time too; sizes are bytes. A field that does
 * not apply is absent. Everything stops when `signal` aborts, and then rejects with its reason.
 * Failures are `ConfigFailure` (unknown dataset or site), `StoreFailure`, `StateFailure`, `WriteFailure`, or
 * `CliFailure` when none of them fits.
 */
export interface Isobar {
  /** Throws `ConfigFailure` when there is no such dataset. Opens bus, ledger and stores when first used. */
  dataset(name: string): Promise<Dataset>;
  /** Probes sites one by one; `report` is called as each check ends. Never throws for a sick site. */
  doctor(options: DoctorOptions, report: (check: Check) => void, signal: AbortSignal): Promise<void>;
  /** Watches and replicates until `signal` aborts, then finishes or hands back what is in flight. */
  run(options: RunOptions, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface OpenOptions {
  /** One line for people on what happens underneath; printed with `--verbose` only. */
  readonly explain: (line: string) => void;
}

/** Handed to the command line by `main.ts`; loads the engine and the drivers only when called. */
export type OpenIsobar = (config: Config, options: OpenOptions) => Promise<Isobar>;

export interface Dataset {
  put(key: string, body: PutBody, metadata: ObjectMetadata, signal: AbortSignal): Promise<PutResult>;
  /** Undefined when absent, at `site` or everywhere. */
  get(key: string, options: { readonly site?: SiteId }, signal: AbortSignal): Promise<GetResult | undefined>;
  /** Undefined when absent; a deleted key is absent. */
  stat(
    key: string,
    options: { readonly site?: SiteId },
    signal: AbortSignal,
  ): Promise<ObjectInfo | undefined>;
  /** Removing what is absent is no error: `removed` is false. */
  remove(key: string, signal: AbortSignal): Promise<RemoveResult>;
  /** In the order of UTF-8 bytes. Without `site`: every key of the dataset, at its newest version. */
  list(
    options: { readonly prefix?: string; readonly site?: SiteId },
    signal: AbortSignal,
  ): AsyncIterable<ListedKey>;
  sync(options: SyncOptions, signal: AbortSignal): Promise<SyncReport>;
  verify(options: VerifyOptions, signal: AbortSignal): Promise<VerifyReport>;
  /** Brings back what stood before a time, as new writes; with `dryRun` only tells. */
  undo(options: UndoOptions, signal: AbortSignal): Promise<UndoReport>;
  /** Makes a lost ledger again from the sites; with `dryRun` only counts. */
  rebuild(options: { readonly dryRun: boolean }, signal: AbortSignal): Promise<RebuildReport>;
  status(signal: AbortSignal): Promise<StatusReport>;
  /** Undefined when no site and no ledger ever knew the key. */
  explain(key: string, signal: AbortSignal): Promise<Explanation | undefined>;
  readonly kept: KeptWrites;
  parked(signal: AbortSignal): AsyncIterable<ParkedChange>;
  /** Tries these again, guarded deletions included; `ids` undefined: all. Ids that are not parked are returned. */
  retryParked(ids: readonly string[] | undefined, signal: AbortSignal): Promise<ParkedAnswer>;
  /** Gives these up: the sites stay different until the key is written again. */
  dropParked(ids: readonly string[], signal: AbortSignal): Promise<ParkedAnswer>;
}

/** A body of known size that can be read again from any place. */
export interface PutBody {
  readonly size: number;
  /** Bytes `from` (inclusive) to `to` (exclusive), all of them. */
  read(range: { readonly from: number; readonly to: number }): Promise<Uint8Array>;
}

/** What orders the writes of a key. */
export interface VersionInfo {
  /** Hybrid logical clock, 16 hex digits: the order of the text is the order of time. */
  readonly stamp: string;
  /** The site that took the write, and how many of this key it had taken by then. */
  readonly site: SiteId;
  readonly count: number;
  /** The physical part of the stamp. */
  readonly atMs: number;
  readonly deleted: boolean;
}

export interface SiteOutcome {
  readonly site: SiteId;
  /** `unknown`: no answer came; the write may or may not have taken effect there. */
  readonly outcome: 'durable' | 'failed' | 'unknown';
  readonly error?: string;
}

export interface PutResult {
  readonly dataset: string;
  readonly key: string;
  readonly size: number;
  readonly version: VersionInfo;
  /** Sites that were tried before the write was acknowledged. */
  readonly sites: readonly SiteOutcome[];
}

export interface RemoveResult {
  readonly dataset: string;
  readonly key: string;
  readonly removed: boolean;
  /** Absent when there was nothing to remove. */
  readonly version?: VersionInfo;
  readonly sites: readonly SiteOutcome[];
}

export interface ObjectInfo {
  readonly dataset: string;
  readonly key: string;
  /** Where it was looked at. */
  readonly site: SiteId;
  readonly size: number;
  readonly modifiedMs: number;
  /** Hex SHA-256 of the body, where it is known. */
  readonly sha256?: string;
  /** Absent for a native write that Isobar has not yet seen. */
  readonly version?: VersionInfo;
  /** As users set it: Isobar's own entry is left out. */
  readonly metadata: ObjectMetadata;
}

export interface GetResult {
  readonly info: ObjectInfo;
  /** Why this site: for people, with `--verbose`. */
  readonly because: string;
  /** Consumed once. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface ListedKey {
  readonly dataset: string;
  readonly key: string;
  readonly size: number;
  readonly modifiedMs: number;
  /** The site that was asked, or one that holds the newest version. */
  readonly site: SiteId;
}

/** How far a long command has got. Totals are absent while nobody knows them. */
export interface Progress {
  /** One word for people: `listing`, `copying`, `comparing`. */
  readonly phase: string;
  readonly keys: number;
  readonly totalKeys?: number;
  readonly bytes: number;
  readonly totalBytes?: number;
  /** Shown behind the figures, such as the lag of each site. */
  readonly note?: string;
}

export interface SyncOptions {
  readonly dryRun: boolean;
  /** Carry out deletions beyond the guard, and of a site that went from full to empty. */
  readonly yes: boolean;
  readonly progress: (progress: Progress) => void;
  /** Every step of the plan with `dryRun`; otherwise never called. */
  readonly planned: (step: PlannedStep) => void;
}

export interface PlannedStep {
  readonly dataset: string;
  readonly action: 'copy' | 'remove';
  readonly key: string;
  /** Where it would be done. */
  readonly site: SiteId;
  /** The source of a copy. */
  readonly from?: SiteId;
  /** To be moved; 0 for a removal. */
  readonly bytes: number;
  readonly because: string;
  /** Why it would not be done now. */
  readonly held?: string;
}

export interface SiteSync {
  readonly site: SiteId;
  /** False: it could not be read, and nothing was concluded from that. */
  readonly reached: boolean;
  readonly error?: string;
  readonly copiedKeys: number;
  readonly copiedBytes: number;
  readonly removedKeys: number;
  /** Native writes and deletions found there. */
  readonly adoptedKeys: number;
  /** Deletions that a guard holds back. */
  readonly guardedKeys: number;
  readonly parkedKeys: number;
  /** What it still lacks because of a failure; the next pass tries again. */
  readonly owedKeys: number;
}

export interface SyncReport {
  readonly dataset: string;
  readonly dryRun: boolean;
  readonly tookMs: number;
  /** With `dryRun`: what would be done. */
  readonly copiedKeys: number;
  readonly copiedBytes: number;
  readonly removedKeys: number;
  /** Concurrent writes that were decided, their losers kept. */
  readonly conflicts: number;
  readonly sites: readonly SiteSync[];
}

export interface VerifyOptions {
  readonly deep: boolean;
  readonly repair: boolean;
  readonly progress: (progress: Progress) => void;
  /** Called for every difference as it is found (with `repair`: once its repair is settled). */
  readonly difference: (difference: Difference) => void;
}

export interface Difference {
  readonly dataset: string;
  readonly key: string;
  readonly site: SiteId;
  /** `extra`: it should be deleted there. `unreadable`: with `--deep`, this one body could not be read. */
  readonly kind: 'missing' | 'extra' | 'differs' | 'unreadable';
  /** What differs or failed, for people. */
  readonly detail: string;
  readonly repaired: boolean;
}

export interface SiteVerify {
  readonly site: SiteId;
  readonly reached: boolean;
  readonly error?: string;
  readonly keys: number;
  readonly bytes: number;
}

/** Counts are of differences before repair; `repaired` of those that are gone now. */
export interface VerifyReport {
  readonly dataset: string;
  readonly deep: boolean;
  readonly tookMs: number;
  readonly comparedKeys: number;
  readonly missing: number;
  readonly extra: number;
  readonly differing: number;
  readonly unreadable: number;
  readonly repaired: number;
  readonly sites: readonly SiteVerify[];
}

export interface SiteRebuild {
  readonly site: SiteId;
  /** False: it could not be read, or not to its end. */
  readonly reached: boolean;
  readonly error?: string;
  readonly keys: number;
  /** Read by this run: a ledger that knew them already reads them again only when it is asked to. */
  readonly tombstones: number;
  /** Of conflicts. */
  readonly losers: number;
}

export interface RebuildReport {
  readonly dataset: string;
  readonly dryRun: boolean;
  readonly tookMs: number;
  readonly keys: number;
  readonly sites: readonly SiteRebuild[];
}

export interface SiteStatus {
  readonly site: SiteId;
  readonly state: 'healthy' | 'away' | 'unknown';
  /** Age of the oldest write not yet verified there; absent: unknown, never to be read as zero. */
  readonly lagMs?: number;
  readonly backlogKeys: number;
  readonly backlogBytes: number;
  /** Of the last minute; absent without a running daemon. */
  readonly bytesPerSecond?: number;
  readonly keysPerSecond?: number;
  readonly parked: number;
  readonly lastError?: string;
  readonly lastErrorMs?: number;
  /** The last complete scan or notification position that this rests on; absent: there was none. */
  readonly asOfMs?: number;
}

export interface StatusReport {
  readonly dataset: string;
  readonly atMs: number;
  /** Whether an `isobar run` carries this dataset now. */
  readonly running: boolean;
  /** Losers of conflicts that are kept. */
  readonly losers: number;
  readonly sites: readonly SiteStatus[];
}

export interface Check {
  readonly site: SiteId;
  /** What was tried, as a short name: `reachable`, `credentials`, `list`, `write`, `create-condition`, `clock`, … */
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly detail: string;
  /** How to mend it. */
  readonly remedy?: string;
}

export interface DoctorOptions {
  /** Undefined: all. */
  readonly sites?: readonly SiteId[];
}

export interface RunOptions {
  /** Undefined: all. */
  readonly datasets?: readonly string[];
  /** Called once, when everything is up. */
  readonly ready: (ready: Ready) => void;
}

export interface Ready {
  readonly datasets: readonly string[];
  /** The URL of `/livez`, `/readyz` and `/metrics`. */
  readonly url: string;
  /** The URLs that take notifications. */
  readonly sources: readonly string[];
}

export interface SiteExplanation {
  readonly site: SiteId;
  readonly state: 'current' | 'behind' | 'absent' | 'deleted' | 'unreachable';
  readonly size?: number;
  readonly sha256?: string;
  readonly version?: VersionInfo;
  /** One sentence for people. */
  readonly because: string;
  /** Since when it is owed, how often it was tried, when the next try is due. */
  readonly pendingSinceMs?: number;
  readonly attempts?: number;
  readonly dueMs?: number;
  readonly lastError?: string;
  /** The id for `isobar parked`. */
  readonly parkedId?: string;
  readonly parkedBecause?: string;
}

export interface KeptLoser {
  readonly site: SiteId;
  readonly keptAs: string;
  readonly size: number;
  readonly stamp: string;
  readonly sinceMs: number;
}

export interface Explanation {
  readonly dataset: string;
  readonly key: string;
  readonly newest?: VersionInfo;
  readonly sites: readonly SiteExplanation[];
  readonly losers: readonly KeptLoser[];
}

export interface ParkedChange {
  readonly dataset: string;
  readonly id: string;
  readonly site: SiteId;
  /** Absent where it stands for many keys, as a guard does. */
  readonly key?: string;
  readonly reason: string;
  readonly detail: string;
  readonly sinceMs: number;
  readonly keys: number;
  readonly bytes: number;
}

export interface ParkedAnswer {
  readonly dataset: string;
  /** Those that were released or dropped. */
  readonly done: readonly string[];
  /** Those that are not parked. */
  readonly unknown: readonly string[];
}
