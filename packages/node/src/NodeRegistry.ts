/** Everything that pushing and pulling needs on Node, in one layer. */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { BlobInfoCache, Credentials, RegistryConfig, UploadJournal, type ValidationError } from "@effect-registry/core"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as DockerConfig from "./DockerConfig.js"
import * as NodeBlobInfoCache from "./NodeBlobInfoCache.js"
import * as NodeBlobTransport from "./NodeBlobTransport.js"
import * as NodeClient from "./NodeClient.js"
import * as NodeCompressor from "./NodeCompressor.js"
import * as NodeHasher from "./NodeHasher.js"
import * as NodeProcessLock from "./NodeProcessLock.js"
import * as NodeUploadJournal from "./NodeUploadJournal.js"
import * as Tls from "./Tls.js"

export interface Options extends RegistryConfig.Options, NodeClient.Options, NodeCompressor.Options {
  /** Default: those that Docker's and Podman's files and credential helpers hold, read when a registry asks. */
  readonly credentials?: Credentials.Service | undefined
  /**
   * What is kept for later runs: unfinished uploads under `$XDG_STATE_HOME/effect-registry`, what became of layers and
   * where they are under `$XDG_CACHE_HOME/effect-registry`. A folder: both in it. `false`: in memory alone. Default true.
   */
  readonly state?: boolean | string | undefined
  /** Wraps the client of every request: retries, timeouts, headers, tracing. */
  readonly transformClient?: ((client: HttpClient.HttpClient) => HttpClient.HttpClient) | undefined
}

/**
 * The pooled client, the configuration, files and paths, and Node's own data path, hashes and compression threads.
 * `url` is the registry of references without a host, `http://localhost:15000`. A layer of your own that is provided
 * inside of this one takes its place:
 *
 * ```ts
 * program.pipe(Effect.provide(FetchHttpClient.layer), Effect.provide(NodeRegistry.layer({ url })))
 * ```
 *
 * Fetch and `NodeHttpClient.layer` do not keep the pace of the socket: for large blobs give them chunks as well, by
 * `Layer.succeed(BlobTransport.BlobTransport, NodeBlobTransport.make({ streams: false }))`.
 */
export const layer = (options: Options = {}): Layer.Layer<Provided> =>
  Layer.merge(batteries(options), RegistryConfig.layer(withTls(options)))

/**
 * As `layer`, with `url` from EREG_REGISTRY or REGISTRY_URL where `options` have none, and the credentials of EREG_USERNAME
 * and EREG_PASSWORD for that registry before others.
 */
export const layerConfig = (
  options: Options = {}
): Layer.Layer<Provided, ConfigError.ConfigError | ValidationError> => {
  const ofEnvironment = Effect.gen(function* () {
    const mine = yield* Credentials.fromEnvironment(yield* RegistryConfig.RegistryConfig)
    return Credentials.orElse(mine, yield* Credentials.Credentials)
  })
  const credentials: Layer.Layer<never, ConfigError.ConfigError | ValidationError, RegistryConfig.RegistryConfig> =
    Layer.effect(Credentials.Credentials, ofEnvironment)
  return credentials.pipe(
    Layer.provideMerge(Layer.merge(batteries(options), RegistryConfig.layerConfig(withTls(options))))
  )
}

export type Provided = RegistryConfig.RegistryConfig | HttpClient.HttpClient | FileSystem.FileSystem | Path.Path

// internal

const batteries = (options: Options): Layer.Layer<HttpClient.HttpClient | FileSystem.FileSystem | Path.Path> =>
  Layer.mergeAll(
    layerClient(options),
    NodeFileSystem.layer,
    NodePath.layer,
    NodeBlobTransport.layer,
    NodeHasher.layer,
    NodeCompressor.layer(options),
    NodeProcessLock.layer,
    Layer.succeed(Credentials.Credentials, options.credentials ?? DockerConfig.service(options)),
    layerState(options.state ?? true)
  )

/** A loopback registry speaks TLS that has certificates of its own, or whose certificate is said not to matter. */
const withTls = (options: Options): RegistryConfig.Options => ({
  ...options,
  usesTls: options.usesTls ?? Tls.make({ environment: options.environment, ...options.tls }).hasFolder
})

const layerState = (state: boolean | string): Layer.Layer<never> => {
  if (state === false) return Layer.merge(UploadJournal.layerMemory, BlobInfoCache.layerMemory)
  const folder = state === true ? {} : { folder: state }
  return Layer.merge(NodeUploadJournal.layer(folder), NodeBlobInfoCache.layer(folder))
}

/**
 * Platform spans carry whole URLs, which may be signed, and `traceparent` would go to third hosts: both are off, the
 * spans of the operations stay.
 */
const layerClient = (options: Options): Layer.Layer<HttpClient.HttpClient> =>
  Layer.scoped(
    HttpClient.HttpClient,
    Effect.map(
      NodeClient.make({
        ...options,
        answerTimeout: options.answerTimeout ?? options.responseTimeout
      }),
      (client) => {
        const quiet = client.pipe(
          HttpClient.withTracerDisabledWhen(() => true),
          HttpClient.withTracerPropagation(false)
        )
        return options.transformClient?.(quiet) ?? quiet
      }
    )
  )
