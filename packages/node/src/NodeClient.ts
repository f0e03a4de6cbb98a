/**
 * An HttpClient over node:http made for blobs: bodies go out at the pace of the socket and with their length, an answer
 * in the middle of an upload arrives, an interruption ends the connection at once. It follows no redirect and decodes
 * nothing, because a registry's digests are of the bytes as they were sent.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Limits } from "./NodeClient/Exchange.js"
import { exchange } from "./NodeClient/Exchange.js"
import * as Route from "./NodeClient/Route.js"
import * as Proxy from "./Proxy.js"
import * as Tls from "./Tls.js"

export interface Options {
  /** For the connection, TLS included. Default 10 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** Without a byte moving, counted only while bytes are due; also the wait for the answer to a request without a body. Default 60 seconds. */
  readonly stallTimeout?: Duration.DurationInput | undefined
  /** From the last byte of an upload to the headers of its answer. Default 15 minutes: some registries hash the blob then. */
  readonly answerTimeout?: Duration.DurationInput | undefined
  /** Connections in all. Default 100. */
  readonly maxConnections?: number | undefined
  /** Connections to one host. Default 30. */
  readonly maxConnectionsPerHost?: number | undefined
  /** Certificates of hosts. Default: those in the folders of Docker and Podman. */
  readonly tls?: Tls.Options | undefined
  /** Whether HTTP_PROXY, HTTPS_PROXY and NO_PROXY are obeyed. Default true. */
  readonly proxy?: boolean | undefined
  /** Where those variables are read, and those of `tls`. Default `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
}

/** How long a connection may lie idle: shorter than the keep-alive of common servers and proxies. */
const idle = 30_000

/**
 * The client; its connections close with the scope. Every failure of a request is a RequestError with reason
 * `Transport`, its cause Node's error, a `CertificateError` or a `ProxyError`. A request under a
 * `FetchHttpClient.RequestInit` with `credentials: "omit"` offers no client certificate of `tls.certDir`.
 */
export const make = (options: Options = {}): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const environment = options.environment ?? process.env
        const pool = {
          keepAlive: true,
          timeout: idle,
          maxTotalSockets: options.maxConnections ?? 100,
          maxSockets: options.maxConnectionsPerHost ?? 30
        }
        const proxies = (options.proxy ?? true) ? Proxy.fromEnvironment(environment) : undefined
        const tls = Tls.make({ ...options.tls, environment: options.tls?.environment ?? environment })
        return Route.make(pool, tls, proxies)
      }),
      (routes) => Effect.sync(routes.close)
    ),
    (routes) => {
      const limits: Limits = {
        connect: Duration.toMillis(options.connectTimeout ?? "10 seconds"),
        stall: Duration.toMillis(options.stallTimeout ?? "60 seconds"),
        answer: Duration.toMillis(options.answerTimeout ?? "15 minutes")
      }
      return HttpClient.make((request, url, signal, fiber) =>
        exchange(request, routes.find(url, credentialsOf(fiber)), signal, limits)
      )
    }
  )

export const layer = (options: Options = {}): Layer.Layer<HttpClient.HttpClient> =>
  Layer.scoped(HttpClient.HttpClient, make(options))

// internal

const credentialsOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): "include" | "omit" => {
  const init = Context.getOption(fiber.getFiberRef(FiberRef.currentContext), FetchHttpClient.RequestInit)
  return Option.isSome(init) && init.value.credentials === "omit" ? "omit" : "include"
}
