/** Clock, randomness and waiting, handed in: from one seed a whole cluster runs the same way twice. */
export interface World {
  /** Wall clock, milliseconds since 1970. May jump. */
  nowMs(): number;
  /** Never goes back; for durations and deadlines. */
  monotonicMs(): number;
  /** In [0, 1). */
  random(): number;
  /** 22 characters, unique for ever. */
  uniqueId(): string;
  /** Names this worker among all, the dead ones included; kept in the ledger. */
  readonly worker: string;
  /** Whether that worker has surely ended; false where it cannot be seen from here. */
  hasEnded(worker: string): boolean;
  /** Rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}
