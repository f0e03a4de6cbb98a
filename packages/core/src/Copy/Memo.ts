/**
 * What the copies of one run learn about one registry, or another store, while they go on: nothing is compressed or sent
 * to it twice. Another registry has a memo of its own.
 */
import * as Effect from "effect/Effect"
import type { Algorithm } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"

export interface Memo {
  /** The layer that a plain one was compressed to. */
  readonly compressed: (diffId: Digest, algorithm: Algorithm) => Descriptor | undefined
  readonly recordCompressed: (diffId: Digest, algorithm: Algorithm, descriptor: Descriptor) => void
  /** Repositories of the target's store that hold the blob. */
  readonly repositories: (digest: Digest) => ReadonlySet<string>
  readonly recordRepository: (digest: Digest, repository: string) => void
  /** One at a time for each key: what one copy is about to move, another waits for. */
  readonly inTurn: (key: string) => <A, E, R>(move: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export const make = (): Memo => {
  const compressed = new Map<string, Descriptor>()
  const repositories = new Map<Digest, Set<string>>()
  const turns = new Map<string, Effect.Semaphore>()
  return {
    compressed: (diffId, algorithm) => compressed.get(`${algorithm} ${diffId}`),
    recordCompressed: (diffId, algorithm, descriptor) => void compressed.set(`${algorithm} ${diffId}`, descriptor),
    repositories: (digest) => repositories.get(digest) ?? new Set(),
    recordRepository: (digest, repository) =>
      void repositories.set(digest, (repositories.get(digest) ?? new Set()).add(repository)),
    inTurn: (key) => (move) =>
      Effect.suspend(() => {
        const turn = turns.get(key) ?? Effect.unsafeMakeSemaphore(1)
        turns.set(key, turn)
        return turn.withPermits(1)(move)
      })
  }
}
