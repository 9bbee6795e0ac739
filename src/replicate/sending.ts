import { type Entry, sendingTo, withEntry } from '../model/entry.ts';
import type { ObjectMetadata } from '../model/metadata.ts';
import type { SiteId } from '../model/version.ts';
import type { WriteRequest } from '../ports/object-store.ts';
import type { World } from '../ports/world.ts';

/**
 * One write of a body with its entry, however often it must be sent: each sending bears a name of its own, so that one
 * that takes effect late, after the key was deleted, is not taken for somebody who brought it back.
 */
export class Sending {
  readonly #world: World;
  readonly #site: SiteId;
  readonly #request: WriteRequest;
  readonly #entry: Entry;
  #last = '';
  #metadata: ObjectMetadata;

  /** The metadata of `request` as its user set it. */
  constructor(world: World, site: SiteId, request: WriteRequest, entry: Entry) {
    this.#world = world;
    this.#site = site;
    this.#request = request;
    this.#entry = entry;
    this.#metadata = request.metadata;
  }

  /** Names the sending that was answered: there is no other after it. */
  get last(): string {
    return this.#last;
  }

  /** As it was sent then. */
  get metadata(): ObjectMetadata {
    return this.#metadata;
  }

  request(): WriteRequest {
    this.#last = sendingTo(this.#site, this.#world.nowMs(), this.#world.uniqueId().slice(0, 6));
    this.#metadata = withEntry(this.#request.metadata, { ...this.#entry, sending: this.#last });
    return { ...this.#request, metadata: this.#metadata, again: () => this.request() };
  }
}
