/** Everything that pushing and pulling needs on Node, in one layer. */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { RegistryConfig } from "@effect-registry/core"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeBlobTransport from "./NodeBlobTransport.js"
import * as NodeClient from "./NodeClient.js"
import * as NodeCompressor from "./NodeCompressor.js"
import * as NodeHasher from "./NodeHasher.js"

export interface Options extends RegistryConfig.Options, NodeClient.Options, NodeCompressor.Options {
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
  Layer.merge(batteries(options), RegistryConfig.layer(options))

/** As `layer`, with `url` from EREG_REGISTRY or REGISTRY_URL where `options` have none. */
export const layerConfig = (options: Options = {}): Layer.Layer<Provided, ConfigError.ConfigError> =>
  Layer.merge(batteries(options), RegistryConfig.layerConfig(options))

export type Provided = RegistryConfig.RegistryConfig | HttpClient.HttpClient | FileSystem.FileSystem | Path.Path

// internal

const batteries = (options: Options): Layer.Layer<HttpClient.HttpClient | FileSystem.FileSystem | Path.Path> =>
  Layer.mergeAll(
    layerClient(options),
    NodeFileSystem.layer,
    NodePath.layer,
    NodeBlobTransport.layer,
    NodeHasher.layer,
    NodeCompressor.layer(options)
  )

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
