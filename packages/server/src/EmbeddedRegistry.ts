/**
 * An OCI registry in your process: `EmbeddedRegistry.layer({ root })` serves a folder, `EmbeddedRegistry.layerTemp()` one that
 * disappears with the scope. It speaks the OCI distribution API and Docker's, to anybody who can reach it: it binds the
 * loopback interface unless told otherwise.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type * as AccessLog from "./AccessLog.js"
import { isLoopback } from "./Address.js"
import * as App from "./App.js"
import type { Authenticate } from "./Auth.js"
import * as MemoryBlobs from "./BlobStore/Memory.js"
import { BlobStore } from "./BlobStore.js"
import * as Ownership from "./Control/Ownership.js"
import * as Control from "./Control.js"
import * as Expiry from "./Expiry.js"
import type * as Faults from "./Faults.js"
import * as FolderStores from "./FolderStores.js"
import * as Gc from "./Gc.js"
import * as Body from "./Handler/Body.js"
import * as Health from "./Health.js"
import * as Limits from "./Limits.js"
import * as Listener from "./Listener.js"
import * as MemoryManifests from "./ManifestStore/Memory.js"
import { ManifestStore } from "./ManifestStore.js"
import * as Metrics from "./Metrics.js"
import * as Proxy from "./Proxy.js"
import { realTime } from "./RealTime.js"
import { Requests } from "./Requests.js"
import { ServerError } from "./ServerError.js"
import type { StorageError } from "./StorageError.js"
import * as Contents from "./storage/Contents.js"
import * as Layout from "./storage/Layout.js"
import * as Root from "./storage/Root.js"
import type * as Tls from "./Tls.js"
import type { Upstream } from "./Upstream.js"

export interface EmbeddedRegistryService {
  /** `http://127.0.0.1:41234`, without a slash at the end. */
  readonly url: string
  /** The host and port as references are written with: `127.0.0.1:41234`. */
  readonly host: string
  readonly port: number
  /** The folder that holds everything, absolute; `undefined` where it is all in memory. */
  readonly root: string | undefined
  /** Removes what no manifest needs; safe while clients push and pull. */
  readonly collect: (options?: Gc.Options) => Effect.Effect<Gc.Collected, StorageError>
}

/** A running registry. */
export class EmbeddedRegistry extends Context.Tag("@effect-registry/server/EmbeddedRegistry")<
  EmbeddedRegistry,
  EmbeddedRegistryService
>() {}

/** What all registries can be told, wherever they keep their images. */
export interface Options extends Faults.Hooks {
  /** Default 0: a free one. */
  readonly port?: number | undefined
  /** The address to listen on. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** For HTTPS: certificate chain and key, PEM, as texts or as files that are read again when they change. */
  readonly tls?: Tls.Options | undefined
  /** Who may use it. Default: everybody who reaches it. */
  readonly authenticate?: Authenticate | undefined
  /**
   * Says that everybody who reaches it may write: without `authenticate` and `readOnly`, another address than the loopback
   * interface's is refused unless this is set. Default `false`.
   */
  readonly anonymousWrite?: boolean | undefined
  /** Refuses all that changes something. Default `false`. */
  readonly readOnly?: boolean | undefined
  readonly limits?: Limits.Options | undefined
  /**
   * The registry that this one is a pull-through cache of; it is read-only then. Everybody who can reach the cache gets what
   * the credentials given here can read, unless `authenticate` says who may.
   */
  readonly upstream?: Upstream | undefined
  /** Whether it lists referrers. Default `true`; without, it is as registries were before: clients keep the list under a tag. */
  readonly referrers?: boolean | undefined
  /** Told of every request at its end, whatever became of it; those for the health are left out. */
  readonly accessLog?: ((entry: AccessLog.Entry) => Effect.Effect<void>) | undefined
  /** How long requests in flight may go on when the scope closes; no new one is taken then. Default 1 second. */
  readonly shutdownGrace?: Duration.DurationInput | undefined
}

export interface FolderOptions extends Options {
  /** The folder to keep everything in; made where it is missing. One registry a folder. */
  readonly root: string
  /** Whether a write is on the disk before it is answered. Default `true`; without, a power cut may lose the last ones. */
  readonly fsync?: boolean | undefined
}

/**
 * A registry for as long as the scope is open. Fails with `PortInUse`, `AddressRefused`, `RootUnusable`, `RootInUse`,
 * `InvalidCertificate` or, where everybody could write and nothing says that they may, `AnonymousWrite`.
 */
export const make = (options: FolderOptions): Effect.Effect<EmbeddedRegistryService, ServerError, Scope.Scope> =>
  inFolder(options, Control.acquire)

/** The registry of a folder. */
export const layer = (options: FolderOptions): Layer.Layer<EmbeddedRegistry, ServerError> =>
  Layer.scoped(EmbeddedRegistry, make(options))

/** A registry in a temporary folder that is removed with the scope; writes are not forced to the disk unless asked for. */
export const layerTemp = (options: Omit<FolderOptions, "root"> = {}): Layer.Layer<EmbeddedRegistry, ServerError> =>
  Layer.scoped(
    EmbeddedRegistry,
    // Nobody else knows the folder, so there is nobody to keep out of it.
    Effect.flatMap(temporaryFolder, (root) => inFolder({ fsync: false, ...options, root }, () => Control.unshared))
  )

/** A registry that keeps everything in memory and never touches the disk, for as long as the scope is open. */
export const makeMemory = (options: Options = {}): Effect.Effect<EmbeddedRegistryService, ServerError, Scope.Scope> =>
  Effect.zipRight(
    allowed(options),
    Effect.suspend(() =>
      serve(options, { layout: undefined, lost: Ownership.certain }, memoryStores(options.limits ?? {}))
    )
  )

/** The same as a layer: the fastest one for tests. */
export const layerMemory = (options: Options = {}): Layer.Layer<EmbeddedRegistry, ServerError> =>
  Layer.scoped(EmbeddedRegistry, makeMemory(options))

// internal

const inFolder = (options: FolderOptions, own: typeof Control.acquire) =>
  Effect.gen(function* () {
    yield* allowed(options)
    const layout = Layout.make(resolve(options.root))
    yield* Root.prepare(layout, { cacheOf: options.upstream?.url })
    const control = yield* own(layout.root)
    yield* Root.clear(layout)
    const { lost } = control
    const stores = FolderStores.layer({ layout, fsync: options.fsync ?? true, limits: options.limits ?? {}, lost })
    const registry = yield* serve(options, { layout, lost }, stores)
    yield* control.handle(registry)
    return registry
  })

const memoryStores = (limits: Limits.Options) => {
  // Manifests are blobs too.
  const contents = Contents.make()
  return Layer.mergeAll(
    Layer.succeed(BlobStore, MemoryBlobs.make({ limits, contents })),
    Layer.succeed(ManifestStore, MemoryManifests.make(contents))
  )
}

interface Folder {
  readonly layout: Layout.Layout | undefined
  readonly lost: Ownership.Lost
}

const serve = (options: Options, { layout, lost }: Folder, stores: Layer.Layer<BlobStore | ManifestStore>) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(stores)
    const served =
      options.upstream === undefined
        ? context
        : yield* Effect.provide(Layer.build(Proxy.layer(options.upstream)), context)
    const requests = yield* tracking(options)
    const readOnly = options.readOnly === true || options.upstream !== undefined
    const writes = !readOnly || options.upstream !== undefined
    const app = App.make({
      bounds: Body.bounds(options.limits?.manifestSize ?? 8 << 20, Limits.pace(options.limits ?? {})),
      referrers: options.referrers ?? true,
      readOnly,
      authenticate: options.authenticate,
      limits: Limits.make(options.limits ?? {}),
      onRequest: options.onRequest,
      observe: options.observe,
      requests,
      lost,
      health: Health.make(requests, layout && { folder: layout.tmp, write: writes }, lost)
    })
    const listener = yield* NodeHttpServer.makeHandler(app).pipe(
      Effect.provide(served),
      Effect.locally(HttpMiddleware.currentTracerDisabledWhen, () => true),
      realTime
    )
    const { grace, host, port, tls } = listening(options)
    const address = yield* Listener.make({ host, port, tls, grace }, requests, listener)
    const collect = (how?: Gc.Options) =>
      Ownership.collecting(lost, Gc.collect({ uploadExpiry: options.limits?.uploadExpiry, ...how })).pipe(
        Effect.provide(context),
        // What it collects was pushed by the time of sockets and files.
        realTime,
        Effect.tap((collected) => (how?.dryRun === true ? Effect.void : noted(collected)))
      )
    yield* Expiry.run({ expiry: options.limits?.uploadExpiry ?? "1 day" }).pipe(Effect.provide(context), realTime)
    return { ...address, root: layout?.root, collect }
  })

/** What an operator finds when something is gone. */
const noted = (collected: Gc.Collected) => {
  Metrics.collected(collected)
  const { bytes, removedCount } = collected
  return removedCount === 0
    ? Effect.void
    : Effect.logInfo(`garbage collection took ${removedCount} things out of repositories and freed ${bytes} bytes`)
}

const listening = ({ host = "127.0.0.1", port = 0, shutdownGrace: grace = "1 second", tls }: Options) => ({
  host,
  port,
  grace,
  tls
})

/** Fails where everybody could write and nobody said so. */
const allowed = (options: Options): Effect.Effect<void, ServerError> => {
  const { host } = listening(options)
  const guarded = options.authenticate !== undefined || options.readOnly === true || options.upstream !== undefined
  return guarded || options.anonymousWrite === true || isLoopback(host)
    ? Effect.void
    : Effect.fail(new ServerError({ reason: "AnonymousWrite", subject: host, cause: "nothing says who may" }))
}

const tracking = ({ accessLog }: Options) =>
  Effect.map(Effect.runtime(), (runtime) => {
    const runFork = Runtime.runFork(runtime)
    return new Requests(accessLog && ((entry) => void runFork(accessLog(entry))))
  })

const temporaryFolder = Effect.acquireRelease(
  Effect.tryPromise({
    try: () => mkdtemp(join(tmpdir(), "embedded-registry-")),
    catch: (cause) => new ServerError({ reason: "RootUnusable", subject: tmpdir(), cause })
  }),
  (root) => Effect.promise(() => rm(root, { recursive: true, force: true, maxRetries: 3 }))
)
