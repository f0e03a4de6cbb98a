/** `ereg serve`: a registry on this machine. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Credentials } from "@effect-registry/core"
import type { AccessLog, EmbeddedRegistry } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ByteCount from "./byteCount.js"
import { UsageError } from "./exit.js"
import type { Page } from "./help.js"
import { forBlobs, type Global, global, integer, time } from "./options.js"
import { json, Output } from "./output.js"
import { hostReferences, perform } from "./perform.js"
import { Stdio } from "./stdio.js"

const text = (name: string, value: string, description: string) =>
  Options.text(name).pipe(Options.withPseudoName(value), Options.withDescription(description), Options.optional)

const flag = (name: string, description: string) => Options.boolean(name).pipe(Options.withDescription(description))

const options = {
  root: text("root", "DIR", "The folder that keeps everything (default: a temporary one, removed at the end)"),
  port: integer("port", {
    from: 0,
    to: 65_535,
    description: "The port to listen on; 0 takes a free one (default: 15000)"
  }).pipe(Options.withDefault(15_000)),
  host: text("host", "ADDR", "The address to listen on; 0.0.0.0 or :: for all of them (default: 127.0.0.1)"),
  htpasswd: text("htpasswd", "FILE", "Who may use it: users and bcrypt hashes, as `htpasswd -B FILE USER` writes them"),
  tlsCert: text("tls-cert", "FILE", "Speak HTTPS with this PEM certificate chain; read again when it changes"),
  tlsKey: text("tls-key", "FILE", "The PEM key of --tls-cert"),
  readOnly: flag("read-only", "Refuse all that changes something"),
  anonymousWrite: flag("anonymous-write", "Let everybody write who reaches an address other than 127.0.0.1"),
  proxy: text("proxy", "URL", "Be a read-only cache of the registry there: what is asked for is fetched and kept"),
  maxUploadSize: ByteCount.option("max-upload-size", "Largest blob taken (default: as the disk holds)").pipe(
    Options.optional
  ),
  maxOpenUploads: integer("max-open-uploads", {
    from: 1,
    to: 1_000_000,
    description: "Unfinished uploads at a time (default: 1000)"
  }).pipe(Options.optional),
  maxRequestRate: integer("max-request-rate", {
    from: 1,
    to: 1_000_000,
    description: "Requests a second from one address, and twice as many at once (default: any number)"
  }).pipe(Options.optional),
  minBodyRate: ByteCount.option(
    "min-body-rate",
    "Bytes a second that an upload must bring, over a minute (default: 1KiB)"
  ).pipe(Options.optional),
  uploadExpiry: time("upload-expiry", "When an upload that gets no bytes is removed (default: 1d)", "90m, 6h or 1d")
}

export const page: Page = {
  name: "serve",
  summary: "Run a registry on this machine until Ctrl-C",
  synopsis: "",
  arguments: [],
  options,
  without: [...forBlobs, "plainHttp", "insecureSkipTlsVerify", "registry"],
  notes: [
    "It listens on 127.0.0.1 only, unless --host says otherwise: then one of --htpasswd, --read-only and --anonymous-write",
    "has to say who may write. Standard output gets its URL, once it answers; standard error a line for each request,",
    "not with --quiet. /healthz tells its health and /metrics numbers for Prometheus. Without --root everything is gone",
    "when it ends. SIGTERM lets requests in flight finish for 8 seconds, Ctrl-C for 2; a second one ends it at once."
  ],
  examples: [
    ["ereg serve --root registry-data", "A registry that keeps its images, at http://localhost:15000"],
    ["ereg serve --port 0", "One to try things on, on a free port"],
    [
      "ereg serve --root /srv/registry --host 0.0.0.0 --htpasswd users --tls-cert chain.pem --tls-key key.pem",
      "One for others: HTTPS, and a password for everybody"
    ],
    [
      "ereg serve --root cache --proxy https://registry-1.docker.io",
      "A cache of Docker Hub: pull localhost:15000/library/alpine"
    ]
  ]
}

export const command = Command.make("serve", { ...options, global }, ({ global, ...given }) =>
  perform({ name: "serve", global, references: hostReferences(given.proxy) }, Effect.scoped(serve(given, global)))
)

// internal

interface Given {
  readonly root: Option.Option<string>
  readonly port: number
  readonly host: Option.Option<string>
  readonly htpasswd: Option.Option<string>
  readonly tlsCert: Option.Option<string>
  readonly tlsKey: Option.Option<string>
  readonly readOnly: boolean
  readonly anonymousWrite: boolean
  readonly proxy: Option.Option<string>
  readonly maxUploadSize: Option.Option<number>
  readonly maxOpenUploads: Option.Option<number>
  readonly maxRequestRate: Option.Option<number>
  readonly minBodyRate: Option.Option<number>
  readonly uploadExpiry: Option.Option<NonNullable<EmbeddedRegistry.Options["shutdownGrace"]>>
}

/** Loaded when it runs: no other command needs an HTTP server, and all start faster without one. */
const server = Effect.promise(() => import("@effect-registry/server"))

const serve = (given: Given, global: Global) =>
  Effect.gen(function* () {
    const output = yield* Output
    const { EmbeddedRegistry, Htpasswd, isLoopback } = yield* server
    const host = Option.getOrElse(given.host, () => "127.0.0.1")
    yield* refuseOpen(given, host, isLoopback(host))
    const tls = yield* certificate(given)
    const upstream = yield* upstreamOf(given)
    const authenticate = Option.isSome(given.htpasswd) ? yield* Htpasswd.make(given.htpasswd.value) : undefined
    if (authenticate !== undefined && tls === undefined && !isLoopback(host)) {
      yield* output.warn("passwords travel in the clear: without --tls-cert, only behind a proxy that speaks HTTPS")
    }
    const options: EmbeddedRegistry.Options = {
      port: given.port,
      host,
      tls,
      authenticate,
      upstream,
      readOnly: given.readOnly ? true : undefined,
      anonymousWrite: given.anonymousWrite,
      limits: limits(given),
      accessLog: global.quiet ? undefined : yield* accessLog(global),
      shutdownGrace: "8 seconds"
    }
    const registry = yield* Option.match(given.root, {
      onNone: () =>
        Effect.map(Layer.build(EmbeddedRegistry.layerTemp(options)), Context.get(EmbeddedRegistry.EmbeddedRegistry)),
      onSome: (root) => EmbeddedRegistry.make({ ...options, root })
    })
    yield* introduce(registry, given)
    return yield* Effect.never
  })

const introduce = ({ host, port, root, url }: EmbeddedRegistry.EmbeddedRegistryService, given: Given) =>
  Effect.gen(function* () {
    const output = yield* Output
    const temporary = Option.isNone(given.root)
    yield* output.print([url], { url, host, port, root, temporary })
    yield* output.note(
      temporary
        ? "images are kept in a temporary folder and are gone when this ends; --root DIR keeps them"
        : `images are kept in ${root}`
    )
    if (Option.isNone(given.proxy) && !given.readOnly) {
      yield* output.note(`push to it:  ereg push app.tar --registry ${url}`)
    }
    yield* output.note("Ctrl-C ends it")
  })

const usage = (why: string, hint: string) => Effect.fail(new UsageError({ what: "ereg serve", why, hint }))

const refuseOpen = (given: Given, host: string, loopback: boolean) => {
  const guarded = Option.isSome(given.htpasswd) || Option.isSome(given.proxy) || given.readOnly
  return loopback || guarded || given.anonymousWrite
    ? Effect.void
    : usage(
        `everybody who reaches ${host} could write to it`,
        "--htpasswd FILE asks for passwords, --read-only lets nobody write, --anonymous-write lets everybody"
      )
}

const certificate = ({ tlsCert, tlsKey }: Given) =>
  Option.isSome(tlsCert) && Option.isSome(tlsKey)
    ? Effect.succeed({ certFile: tlsCert.value, keyFile: tlsKey.value })
    : Option.isSome(tlsCert) || Option.isSome(tlsKey)
      ? usage("--tls-cert and --tls-key belong together", "give both: --tls-cert chain.pem --tls-key key.pem")
      : Effect.succeed(undefined)

/** Our credentials are used for nobody that did not have to say who they are. */
const upstreamOf = ({ htpasswd, proxy }: Given) =>
  Effect.gen(function* () {
    if (Option.isNone(proxy)) return undefined
    const output = yield* Output
    const { Upstream } = yield* server
    const open = Upstream.fromRegistry(proxy.value)
    if (Option.isSome(htpasswd)) return yield* open
    yield* output.note("the other registry is asked without credentials; with --htpasswd, with those that ereg knows")
    return yield* Effect.provideService(open, Credentials.Credentials, Credentials.none)
  })

const limits = (given: Given): EmbeddedRegistry.Options["limits"] => ({
  uploadSize: Option.getOrUndefined(given.maxUploadSize),
  openUploads: Option.getOrUndefined(given.maxOpenUploads),
  requestRate: Option.getOrUndefined(given.maxRequestRate),
  bodyRate: Option.getOrUndefined(given.minBodyRate),
  uploadExpiry: Option.getOrUndefined(given.uploadExpiry)
})

/** Bytes of the log that may wait for whoever reads it; what comes on top is lost rather than kept in memory. */
const mostWaiting = 1 << 20

const accessLog = ({ output }: Global) =>
  Effect.gen(function* () {
    const { error } = yield* Stdio
    const { AccessLog } = yield* server
    const line = (entry: AccessLog.Entry) =>
      output === "json" ? json(AccessLog.toJson(entry), false) : `${AccessLog.combined(entry)}\n`
    return (entry: AccessLog.Entry) =>
      Effect.sync(() => {
        const waiting = "writableLength" in error ? Number(error.writableLength) : 0
        if (waiting < mostWaiting) error.write(line(entry))
      })
  })
