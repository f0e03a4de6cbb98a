/**
 * An HttpClient over node:http made for blobs: bodies go out at the pace of the socket and with their length, an answer
 * in the middle of an upload arrives, an interruption ends the connection at once. It follows no redirect and decodes
 * nothing, because a registry's digests are of the bytes as they were sent.
 */
import * as Http from "node:http"
import * as Https from "node:https"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Limits } from "./NodeClient/Exchange.js"
import { exchange } from "./NodeClient/Exchange.js"

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
  /** Certificates and other settings of TLS. Default: those of Node. */
  readonly tls?: Https.AgentOptions | undefined
}

/** How long a connection may lie idle: shorter than the keep-alive of common servers and proxies. */
const idle = 30_000

/** The client; its connections close with the scope. Every failure of a request is a RequestError with reason `Transport`, its cause Node's error. */
export const make = (options: Options = {}): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const agent = {
          keepAlive: true,
          timeout: idle,
          maxTotalSockets: options.maxConnections ?? 100,
          maxSockets: options.maxConnectionsPerHost ?? 30
        }
        return { http: new Http.Agent(agent), https: new Https.Agent({ ...agent, ...options.tls }) }
      }),
      (agents) =>
        Effect.sync(() => {
          agents.http.destroy()
          agents.https.destroy()
        })
    ),
    (agents) => {
      const limits: Limits = {
        connect: Duration.toMillis(options.connectTimeout ?? "10 seconds"),
        stall: Duration.toMillis(options.stallTimeout ?? "60 seconds"),
        answer: Duration.toMillis(options.answerTimeout ?? "15 minutes")
      }
      return HttpClient.make((request, url, signal) => exchange(request, url, signal, agents, limits))
    }
  )

export const layer = (options: Options = {}): Layer.Layer<HttpClient.HttpClient> =>
  Layer.scoped(HttpClient.HttpClient, make(options))
