/** The threads of the compressor: started at the first job, asleep without keeping the process alive, ended with the scope. */
import { Worker } from "node:worker_threads"
import { type Algorithm, Compressor } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Lent from "../Lent.js"
import { workerSource } from "./workerSource.js"

/** A block to compress: bytes at hand, or a place in an open file. */
export type Block =
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
  | { readonly _tag: "File"; readonly fd: number; readonly position: number; readonly length: number }

export type Outcome =
  | { readonly _tag: "Compressed"; readonly plain: Uint8Array; readonly compressed: Uint8Array }
  /** What came out does not decompress to the block. */
  | { readonly _tag: "Wrong" }
  | { readonly _tag: "ReadFailed"; readonly cause: Error }

export interface Pool {
  readonly threads: number
  /**
   * Compresses a block. It cannot be called off once a thread has it, because that may be reading from the descriptor: some
   * ten milliseconds. Rejects where the thread is lost.
   */
  readonly run: (block: Block, verify: boolean) => Promise<Outcome>
  /** Gives the memory of a block back. */
  readonly free: (plain: Uint8Array) => void
}

interface Answer {
  readonly id: number
  readonly buffer: ArrayBuffer
  readonly output: ArrayBuffer
  readonly size?: number
  readonly wrong?: boolean
  readonly error?: { readonly code?: string; readonly message: string }
}

interface Job {
  readonly length: number
  readonly done: (outcome: Outcome) => void
  readonly lost: (cause: Error) => void
}

interface Thread {
  readonly worker: Worker
  /** Jobs it has not answered, by id. */
  readonly jobs: Map<number, Job>
}

/** `source` is what the threads run; tests break it. */
export const make = (
  threads: number,
  algorithm: Algorithm = "gzip",
  source = workerSource
): Effect.Effect<Pool, never, Scope.Scope> =>
  Effect.gen(function* () {
    const all = yield* Effect.acquireRelease(
      Effect.sync(() => new Threads(threads, algorithm, source)),
      (all) => Effect.promise(() => all.terminate())
    )
    // Bounds the memory of several layers at once.
    const turns = new Turns(threads + 1)
    return {
      threads,
      run: async (block, verify) => {
        await turns.take()
        try {
          return await all.post(block, verify, await all.module())
        } finally {
          turns.give()
        }
      },
      free: (plain) => all.free(plain)
    }
  })

// internal

/** So many at once, the others in their order. */
class Turns {
  private readonly waiting: Array<() => void> = []

  constructor(private free: number) {}

  take(): Promise<void> | undefined {
    if (this.free === 0) return new Promise((resolve) => this.waiting.push(resolve))
    this.free -= 1
    return undefined
  }

  give(): void {
    const next = this.waiting.shift()
    if (next === undefined) this.free += 1
    else next()
  }
}

class Threads {
  private readonly threads: Array<Thread> = []
  private buffers: Array<ArrayBuffer> = []
  private outputs: Array<ArrayBuffer> = []
  private compiled: Promise<WebAssembly.Module> | undefined
  private lastId = 0
  private readonly form: Compressor.Form.Form

  constructor(
    private readonly count: number,
    private readonly algorithm: Algorithm,
    private readonly source: string
  ) {
    this.form = Compressor.Form.of(algorithm)
  }

  module(): Promise<WebAssembly.Module> {
    this.compiled ??= this.form.module()
    return this.compiled
  }

  post(block: Block, verify: boolean, module: WebAssembly.Module): Promise<Outcome> {
    const thread = this.leastBusy(module)
    const id = ++this.lastId
    const buffer = this.buffers.pop() ?? new ArrayBuffer(this.form.blockSize)
    const output = this.outputs.pop() ?? new ArrayBuffer(this.form.outputSize)
    const length = block._tag === "File" ? block.length : block.bytes.length
    if (block._tag === "Bytes") new Uint8Array(buffer).set(block.bytes)
    const place = block._tag === "File" ? { fd: block.fd, position: block.position } : {}
    if (thread.jobs.size === 0) thread.worker.ref()
    return new Promise((done, lost) => {
      thread.jobs.set(id, { length, done, lost })
      thread.worker.postMessage({ id, buffer, output, length, verify, ...place }, [buffer, output])
    })
  }

  free(plain: Uint8Array): void {
    const buffer = plain.buffer as ArrayBuffer
    // a block in each thread and one before it, no more
    if (this.buffers.length < 2 * this.count) this.buffers.push(buffer)
  }

  private keep(output: ArrayBuffer): void {
    if (this.outputs.length < 2 * this.count) this.outputs.push(output)
  }

  async terminate(): Promise<void> {
    this.buffers = []
    this.outputs = []
    await Promise.all(this.threads.splice(0).map(({ worker }) => worker.terminate()))
  }

  /** A sleeping thread, a new one, else the one with the fewest jobs. */
  private leastBusy(module: WebAssembly.Module): Thread {
    const idle = this.threads.find(({ jobs }) => jobs.size === 0)
    if (idle !== undefined) return idle
    if (this.threads.length < this.count) return this.start(module)
    return this.threads.reduce((a, b) => (b.jobs.size < a.jobs.size ? b : a))
  }

  private start(module: WebAssembly.Module): Thread {
    const { algorithm } = this
    const worker = new Worker(this.source, {
      eval: true,
      execArgv: [],
      name: algorithm,
      workerData: { algorithm, blockSize: this.form.blockSize, level: this.form.level, module }
    })
    const thread: Thread = { worker, jobs: new Map() }
    this.threads.push(thread)
    worker.unref()
    worker.on("message", (answer: Answer) => {
      const job = thread.jobs.get(answer.id)
      thread.jobs.delete(answer.id)
      if (thread.jobs.size === 0) worker.unref()
      job?.done(this.outcome(answer, job.length))
    })
    const lost = (cause: unknown): void => {
      const at = this.threads.indexOf(thread)
      if (at >= 0) this.threads.splice(at, 1)
      for (const job of thread.jobs.values()) job.lost(new Error(`a ${algorithm} thread ended`, { cause }))
      thread.jobs.clear()
    }
    worker.on("error", lost)
    worker.on("exit", lost)
    return thread
  }

  private outcome({ buffer, error, output, size }: Answer, length: number): Outcome {
    const plain = new Uint8Array(buffer, 0, length)
    if (size !== undefined) {
      // It leaves us, and who knows for how long: what is not given back is replaced by a new one.
      const compressed = Lent.lend(new Uint8Array(output, 0, size), () => this.keep(output))
      return { _tag: "Compressed", plain, compressed }
    }
    this.keep(output)
    this.free(plain)
    if (error === undefined || error.code?.startsWith("Z_") === true) return { _tag: "Wrong" }
    return { _tag: "ReadFailed", cause: Object.assign(new Error(error.message), { code: error.code }) }
  }
}
