/**
 * Digests of uploads, computed as the bytes come in: of large ones in a thread, so that the main one has the next bytes read
 * meanwhile, of small ones where they are, because a message costs more than they do.
 */
import { createHash } from "node:crypto"
import { Worker } from "node:worker_threads"
import type { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { workerSource } from "./Hashing/workerSource.js"

/** The hash of one upload. */
export interface Hash {
  /** Adds bytes, and calls `done` when it does not look at them any more. */
  readonly update: (bytes: Uint8Array, done: () => void) => void
  /** Of all bytes so far, in hex; `undefined` where it was lost, and the bytes have to be read again. */
  readonly digest: () => Promise<string | undefined>
  /** It is not needed any more. */
  readonly drop: () => void
}

/** Of bytes that are in memory anyway. */
export const digestOf = (bytes: Uint8Array, algorithm: Digest.Algorithm): Digest.Digest =>
  // A template of these two parts is a digest by its form; its grammar need not be looked at again.
  `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}` as Digest.Digest

export interface Hashing {
  readonly here: (algorithm: Digest.Algorithm) => Hash
  readonly inThread: (algorithm: Digest.Algorithm) => Hash
}

/** The thread starts with the first upload that needs it, keeps no process alive on its own, and ends with the scope. */
export const make: Effect.Effect<Hashing, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => new Thread()),
    (thread) => Effect.promise(() => thread.end())
  ),
  (thread) => ({
    here,
    inThread: (algorithm) => (thread.isLost ? here(algorithm) : thread.hash(algorithm))
  })
)

// internal

const here = (algorithm: Digest.Algorithm): Hash => {
  const hash = createHash(algorithm)
  return {
    update: (bytes, done) => {
      hash.update(bytes)
      done()
    },
    digest: () => Promise.resolve(hash.copy().digest("hex")),
    drop: () => {}
  }
}

interface Answer {
  readonly id: number
  readonly digest?: string
}

class Thread {
  /** Set where it died: what it knew is gone, and nobody waits for it. */
  isLost = false
  private worker: Worker | undefined
  private readonly asked = new Map<number, (digest: string | undefined) => void>()
  private nextId = 0
  private nextKey = 0

  hash(algorithm: Digest.Algorithm): Hash {
    const key = this.nextKey++
    return {
      update: (bytes, done) => this.ask({ key, algorithm, bytes }, done),
      digest: () => new Promise((resolve) => this.ask({ key, algorithm }, resolve)),
      drop: () => void this.worker?.postMessage({ key })
    }
  }

  async end(): Promise<void> {
    const { worker } = this
    this.lose()
    await worker?.terminate()
  }

  private ask(message: object, done: (digest: string | undefined) => void): void {
    if (this.isLost) {
      done(undefined)
      return
    }
    this.worker ??= this.start()
    const { worker } = this
    // Only while something is due does it keep the process alive.
    if (this.asked.size === 0) worker.ref()
    const id = this.nextId++
    this.asked.set(id, done)
    worker.postMessage({ ...message, id })
  }

  private start(): Worker {
    const worker = new Worker(workerSource, { eval: true, stdout: false })
    worker.on("message", ({ digest, id }: Answer) => {
      const done = this.asked.get(id)
      this.asked.delete(id)
      if (this.asked.size === 0) worker.unref()
      done?.(digest)
    })
    worker.on("error", () => this.lose()).on("exit", () => this.lose())
    return worker
  }

  private lose(): void {
    this.isLost = true
    this.worker = undefined
    const asked = [...this.asked.values()]
    this.asked.clear()
    for (const done of asked) done(undefined)
  }
}
