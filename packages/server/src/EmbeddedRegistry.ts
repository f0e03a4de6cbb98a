/**
 * An OCI registry in your process: `EmbeddedRegistry.layer({ root })` serves a folder, `EmbeddedRegistry.layerTemp()` one that
 * disappears with the scope. It speaks the OCI distribution API and Docker's, to anybody who can reach it: it binds the
 * loopback interface unless told otherwise.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as App from "./App.js"
import * as FileBlobs from "./BlobStore/FileSystem.js"
import { BlobStore } from "./BlobStore.js"
import type * as Faults from "./Faults.js"
import * as FileManifests from "./ManifestStore/FileSystem.js"
import { ManifestStore } from "./ManifestStore.js"
import { ServerError } from "./ServerError.js"
import * as Files from "./storage/Files.js"
import * as Layout from "./storage/Layout.js"

export interface EmbeddedRegistryService {
  /** `http://127.0.0.1:41234`, without a slash at the end. */
  readonly url: string
  /** The host and port as references are written with: `127.0.0.1:41234`. */
  readonly host: string
  readonly port: number
  /** The folder that holds everything, absolute. */
  readonly root: string
}

/** A running registry. */
export class EmbeddedRegistry extends Context.Tag("@effect-registry/server/EmbeddedRegistry")<
  EmbeddedRegistry,
  EmbeddedRegistryService
>() {}

export interface Options extends Faults.Hooks {
  /** The folder to keep everything in; made where it is missing. One registry a folder. */
  readonly root: string
  /** Default 0: a free one. */
  readonly port?: number | undefined
  /** The address to listen on. Default `127.0.0.1`: there is no authentication. */
  readonly host?: string | undefined
  /** Whether a write is on the disk before it is answered. Default `true`; without, a power cut may lose the last ones. */
  readonly fsync?: boolean | undefined
  /** Silence after which the sender of an upload counts as gone; the bytes that came are kept. Default 1 minute. */
  readonly idleTimeout?: Duration.DurationInput | undefined
  /** Largest manifest taken, in bytes. Default 8 MiB; the specification asks for 4 MiB at least. */
  readonly maxManifestSize?: number | undefined
  /** Whether it lists referrers. Default `true`; without, it is as registries were before: clients keep the list under a tag. */
  readonly referrers?: boolean | undefined
}

/** A registry for as long as the scope is open. Fails with `PortInUse`, `AddressRefused` or `RootUnusable`. */
export const make = (options: Options): Effect.Effect<EmbeddedRegistryService, ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const layout = Layout.make(resolve(options.root))
    yield* prepare(layout)
    const files = Files.make(layout.tmp, options.fsync ?? true)
    const idle = Duration.toMillis(options.idleTimeout ?? "1 minute")
    const app = App.make({
      maxManifestSize: options.maxManifestSize ?? 8 << 20,
      referrers: options.referrers ?? true,
      onRequest: options.onRequest,
      observe: options.observe
    }).pipe(
      Effect.provideService(BlobStore, FileBlobs.make({ layout, files, idle })),
      Effect.provideService(ManifestStore, FileManifests.make({ layout, files }))
    )
    return yield* listen(app, layout.root, options.host ?? "127.0.0.1", options.port ?? 0)
  })

/** The registry of a folder. */
export const layer = (options: Options): Layer.Layer<EmbeddedRegistry, ServerError> =>
  Layer.scoped(EmbeddedRegistry, make(options))

/** A registry in a temporary folder that is removed with the scope; writes are not forced to the disk unless asked for. */
export const layerTemp = (options: Omit<Options, "root"> = {}): Layer.Layer<EmbeddedRegistry, ServerError> =>
  Layer.scoped(
    EmbeddedRegistry,
    Effect.flatMap(temporaryFolder, (root) => make({ fsync: false, ...options, root }))
  )

// internal

const prepare = (layout: Layout.Layout) =>
  Effect.tryPromise({
    try: async () => {
      for (const folder of [layout.repositories, layout.tmp]) await mkdir(folder, { recursive: true })
    },
    catch: (cause) => new ServerError({ reason: "RootUnusable", subject: layout.root, cause })
  })

const temporaryFolder = Effect.acquireRelease(
  Effect.tryPromise({
    try: () => mkdtemp(join(tmpdir(), "embedded-registry-")),
    catch: (cause) => new ServerError({ reason: "RootUnusable", subject: tmpdir(), cause })
  }),
  (root) => Effect.promise(() => rm(root, { recursive: true, force: true, maxRetries: 3 }))
)

type HttpApp = Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest>

const listen = (app: HttpApp, root: string, host: string, port: number) =>
  Effect.gen(function* () {
    // Node ends every request after five minutes unless told not to; silence is what we count instead. Idle connections
    // are kept long enough that a client's pool seldom sends into one that is just being closed.
    const server = createServer({ requestTimeout: 0, keepAliveTimeout: 75_000 })
    const running = yield* NodeHttpServer.make(() => server, { host, port }).pipe(
      Effect.mapError(({ cause }) => ServerError.listen(`${host}:${port}`, cause))
    )
    let active = 0
    const counted = Effect.acquireUseRelease(
      Effect.sync(() => active++),
      () => app,
      () => Effect.sync(() => active--)
    )
    // The release of the server waits for every open connection, idle ones too, so they are closed first; then handlers
    // finish what cannot be interrupted, before somebody removes the folder.
    yield* Effect.addFinalizer(() => {
      const closed = Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
      const idle = Effect.repeat(Effect.sleep("5 millis"), { while: () => active > 0 })
      return Effect.zipRight(closed, idle).pipe(Effect.interruptible, Effect.timeoutOption("5 seconds"), realTime)
    })
    yield* running.serve(counted).pipe(
      Effect.locally(HttpMiddleware.currentTracerDisabledWhen, () => true),
      realTime
    )
    const actual = running.address._tag === "TcpAddress" ? running.address.port : port
    const authority = `${reachable(host)}:${actual}`
    return { url: `http://${authority}`, host: authority, port: actual, root }
  })

// Sockets do not follow a test's clock, so what waits for them does not either.
const realTime = Effect.withClock(Clock.make())

/** Where a client on this machine finds a server that listens on `host`. */
const reachable = (host: string): string => {
  if (host === "0.0.0.0" || host === "") return "127.0.0.1"
  if (host === "::") return "[::1]"
  return host.includes(":") ? `[${host}]` : host
}
