import type { Delivered } from '../buses/subscription.ts';
import type { StateFailureCode } from '../model/failure.ts';
import { StateFailure } from '../model/failure.ts';
import { OwnerGone } from './access.ts';
import { unavailable } from './failures.ts';

/** Guest to owner. */
export interface Request {
  readonly id: number;
  readonly operation: string;
  readonly arguments: readonly unknown[];
}

/** Owner to guest. The first is `hello`; then answers in any order, and deliveries. */
export type Message =
  | { readonly kind: 'hello'; readonly pid: number }
  | { readonly kind: 'answer'; readonly id: number; readonly result?: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly failure: WireFailure }
  | { readonly kind: 'delivery'; readonly subscription: string; readonly delivered: Delivered }
  | { readonly kind: 'subscription-failure'; readonly subscription: string; readonly failure: WireFailure };

export interface WireFailure {
  readonly code: StateFailureCode | 'gone' | 'range';
  readonly message: string;
}

export function toWire(failure: unknown): WireFailure {
  if (failure instanceof StateFailure) return { code: failure.code, message: failure.message };
  const message = failure instanceof Error ? failure.message : String(failure);
  if (failure instanceof OwnerGone) return { code: 'gone', message };
  if (failure instanceof RangeError || failure instanceof TypeError) return { code: 'range', message };
  return { code: 'unavailable', message };
}

export function fromWire({ code, message }: WireFailure): Error {
  if (code === 'gone') return new OwnerGone(message);
  if (code === 'range') return new RangeError(message);
  return code === 'unavailable' ? unavailable(message) : new StateFailure(code, message);
}
