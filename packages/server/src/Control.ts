/**
 * One registry a folder. Its owner answers on a loopback port of its own, written with a secret into `control/N.json` of the folder:
 * so another process finds out whether it is alive, and asks it to collect garbage, which only the owner may.
 */
import { randomBytes } from "node:crypto"
import type { Server, ServerResponse } from "node:http"
import { resolve } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Channel from "./Control/Channel.js"
import * as Claim from "./Control/Claim.js"
import * as Collection from "./Control/Collection.js"
import * as Machine from "./Control/Machine.js"
import * as Owner from "./Control/Owner.js"
import * as Ownership from "./Control/Ownership.js"
import * as FolderStores from "./FolderStores.js"
import * as Gc from "./Gc.js"
import { realTime } from "./RealTime.js"
import { ServerError } from "./ServerError.js"
import type { StorageError } from "./StorageError.js"
import * as Files from "./storage/Files.js"
import * as Layout from "./storage/Layout.js"
import * as Root from "./storage/Root.js"

/** What others may ask of the owner of a folder. */
export interface Handlers {
  readonly collect: (options: Gc.Options) => Effect.Effect<Gc.Collected, StorageError>
}

export interface Control {
  /**
   * Answers with these from now on, until the scope ends, which waits for the end of what is being done; until then whoever asks
   * waits.
   */
  readonly handle: (handlers: Handlers) => Effect.Effect<void, never, Scope.Scope>
  /** Whether another process may have taken the folder over, and why that is so. Nothing may be written to it any more then. */
  readonly lost: Ownership.Lost
}

/**
 * Owns the folder `root`, which must exist, until the scope ends or the process dies. Fails with `RootInUse` while another process
 * does, or this one does already. The folder of one that was killed is taken over at once; where it ran in another container or
 * machine that shares the folder, after ten seconds in which it gave no sign of life.
 */
export const acquire = (root: string): Effect.Effect<Control, ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const handlers = yield* Deferred.make<Handlers>()
    const token = randomBytes(32).toString("hex")
    // What others asked for ends before the folder is given away.
    const working = yield* Scope.make()
    const stop = Scope.close(working, Exit.void)
    yield* Effect.addFinalizer(() => stop)
    const run = yield* FiberSet.makeRuntime<never, void>().pipe(Scope.extend(working))
    const port = yield* serve(token, Deferred.await(handlers), run)
    const owner: Owner.Owner = { port, token, place: yield* Effect.promise(Machine.here) }
    const number = yield* Effect.acquireRelease(claim(root, owner), (number) =>
      Effect.ignoreLogged(io(root, () => Claim.rewrite(root, number, Owner.encode({ ...owner, released: true }))))
    )
    const lost = yield* Ownership.keep(root, () => Claim.beat(root, number))
    yield* Effect.addFinalizer(() => stop)
    const handle = (given: Handlers) =>
      Effect.asVoid(Effect.acquireRelease(Deferred.succeed(handlers, given), () => stop))
    return { handle, lost }
  }).pipe(realTime)

/** The control of a folder that no other process knows. */
export const unshared: Effect.Effect<Control> = Effect.succeed({
  handle: () => Effect.void,
  lost: Ownership.certain
})

/** Whether a running registry did it, or this process, because none runs. */
export interface Done {
  readonly collected: Gc.Collected
  readonly online: boolean
}

/**
 * Collects garbage in the registry of a folder: by the process that runs it, else in this one, which owns the folder for so long.
 * Fails with `RootUnknown` where there is no registry, `RootUnusable`, or `RootInUse` where one runs that cannot be asked from here.
 */
export const collect = (root: string, options: Gc.Options = {}): Effect.Effect<Done, ServerError | StorageError> =>
  Effect.gen(function* () {
    const layout = Layout.make(resolve(root))
    const version = yield* io(layout.root, () => Files.readText(layout.version))
    if (version === undefined) {
      const cause = new Error("it has no registry.json")
      return yield* new ServerError({ reason: "RootUnknown", subject: layout.root, cause })
    }
    const running = yield* find(layout.root)
    if (running !== undefined) return { collected: yield* Collection.ask(running, options), online: true }
    return { collected: yield* offline(layout, options), online: false }
  }).pipe(realTime)

// internal

const io = <A>(root: string, run: () => Promise<A>): Effect.Effect<A, ServerError> =>
  Effect.tryPromise({ try: run, catch: (cause) => new ServerError({ reason: "RootUnusable", subject: root, cause }) })

const offline = (layout: Layout.Layout, options: Gc.Options) =>
  Effect.gen(function* () {
    yield* Root.prepare(layout)
    const control = yield* acquire(layout.root)
    yield* Root.clear(layout)
    const stores = yield* Layer.build(FolderStores.layer({ layout, fsync: true, limits: {}, lost: control.lost }))
    const collect = (asked: Gc.Options) => Effect.provide(Ownership.collecting(control.lost, Gc.collect(asked)), stores)
    // Another process that asks while this one runs gets the same.
    yield* control.handle({ collect })
    return yield* collect(options)
  }).pipe(Effect.scoped)

const stateOf = (root: string, latest: Claim.Latest) =>
  Owner.stateOf(
    latest,
    Effect.map(Effect.orDie(io(root, () => Claim.latest(root))), (now) =>
      now?.number === latest.number ? now : undefined
    )
  )

/** Whom to ask; nobody where no registry runs. */
const find = (root: string): Effect.Effect<Channel.Peer | undefined, ServerError> =>
  Effect.gen(function* () {
    const latest = yield* io(root, () => Claim.latest(root))
    const state = latest && (yield* stateOf(root, latest))
    if (state === undefined || state._tag === "Gone") return undefined
    return state.reachable ? state.owner : yield* inUse(root, state)
  })

/** Becomes the next owner, and gives the number of the record. */
const claim = (root: string, owner: Owner.Owner): Effect.Effect<number, ServerError> =>
  Effect.gen(function* () {
    const text = Owner.encode(owner)
    for (;;) {
      const latest = yield* io(root, () => Claim.latest(root))
      const state = latest && (yield* stateOf(root, latest))
      if (state?._tag === "Alive") return yield* inUse(root, state)
      const number = (latest?.number ?? 0) + 1
      if (yield* io(root, () => Claim.claim(root, number, text))) return number
    }
  })

const inUse = (root: string, { owner, reachable }: Extract<Owner.State, { readonly _tag: "Alive" }>) =>
  Effect.fail(
    new ServerError({
      reason: "RootInUse",
      subject: root,
      cause: new Error(
        `a registry runs on it, ${Owner.whereOf(owner)}${reachable ? "" : ", which does not answer here"}`
      )
    })
  )

/** The port that answers. */
const serve = (
  token: string,
  handlers: Effect.Effect<Handlers>,
  run: (work: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
): Effect.Effect<number, ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const handle: Channel.Handle = (path, body, response) => {
      const effect = respond(handlers, path, body, response)
      if (effect === undefined) return void response.writeHead(path === "/ping" ? 204 : 404).end()
      // Whoever asked may end before the answer does: then nobody wants it any more.
      const fiber = run(effect)
      response.on("close", () => fiber.unsafeInterruptAsFork(FiberId.none))
    }
    const server = yield* Effect.acquireRelease(
      Effect.sync(() => Channel.makeServer(token, handle)),
      close
    )
    return yield* Effect.async<number, ServerError>((resume) => {
      const refused = (cause: Error) => resume(Effect.fail(ServerError.listen(Channel.address, cause)))
      server.on("error", refused).listen(0, Channel.address, () => {
        const at = server.address()
        resume(Effect.succeed(typeof at === "object" && at !== null ? at.port : 0))
      })
    })
  })

const close = (server: Server) =>
  Effect.async<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

const respond = (handlers: Effect.Effect<Handlers>, path: string, body: string, response: ServerResponse) => {
  const options = path === Collection.path ? Option.getOrUndefined(Collection.decodeOptions(body)) : undefined
  if (options === undefined) return undefined
  response.writeHead(200, { "content-type": "application/x-ndjson" }).flushHeaders()
  const collect = Effect.flatMap(handlers, ({ collect }) => collect(options))
  return Collection.answer(collect, (line) => void response.write(line)).pipe(
    // What was cut short has no end, so whoever asked does not take it for one.
    Effect.onExit((exit) => Effect.sync(() => void (Exit.isSuccess(exit) ? response.end() : response.destroy())))
  )
}
