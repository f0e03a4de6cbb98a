/** From a request to its answer: route, handler, error in the specification's form, and the faults that tests ask for. */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { BlobStore } from "./BlobStore.js"
import * as Faults from "./Faults.js"
import * as Blob from "./Handler/Blob.js"
import { type Exchange, type HandlerError, json } from "./Handler/Exchange.js"
import * as Manifest from "./Handler/Manifest.js"
import * as Tag from "./Handler/Tag.js"
import * as Upload from "./Handler/Upload.js"
import type { ManifestStore } from "./ManifestStore.js"
import * as OciError from "./OciError.js"
import * as Route from "./Route.js"

export interface Options extends Faults.Hooks {
  /** Bytes. */
  readonly maxManifestSize: number
  /** Whether referrers are listed. */
  readonly referrers: boolean
}

type Stores = BlobStore | ManifestStore

/** The whole registry as one HTTP app. It never fails: what goes wrong is an answer. */
export const make = (
  options: Options
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, Stores | HttpServerRequest.HttpServerRequest> => {
  let count = 0
  return Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const incoming = NodeHttpServerRequest.toIncomingMessage(request)
    const [path = "", query = ""] = splitOnce(request.url, "?")
    const seen: Faults.Request = { index: count++, method: request.method, path, query, headers: request.headers }
    const connection = connectionOf(NodeHttpServerRequest.toServerResponse(request))
    return Effect.gen(function* () {
      const fault = options.onRequest === undefined ? undefined : yield* options.onRequest(seen)
      const told = (status: number | undefined) => options.observe?.({ ...seen, status, fault }) ?? Effect.void
      const body = Faults.requestBody(fault, incoming, connection.cut)
      const { maxManifestSize, referrers } = options
      const exchange = { method: seen.method, headers: seen.headers, body, maxManifestSize, referrers }
      const answer = yield* faulty(fault, answerTo(seen, exchange), connection.cut).pipe(
        Effect.onInterrupt(() => told(undefined))
      )
      yield* told(answer.status)
      return Faults.response(fault, answer, connection.flushed, connection.cut)
    }).pipe(
      // An HttpApp runs uninterruptible, and a handler must stop when its client is gone.
      Effect.interruptible
    )
  })
}

// internal

const answerTo = (request: Faults.Request, exchange: Exchange) =>
  handle(Route.parse(request.method, request.path, request.query), exchange).pipe(
    Effect.catchAll((error) =>
      error._tag === "OciError"
        ? Effect.succeed(refusal(error))
        : Effect.as(Effect.logError(`${request.method} ${request.path}: ${error.message}`), broken)
    ),
    Effect.catchAllCause((cause) =>
      Cause.isInterruptedOnly(cause)
        ? Effect.interrupt
        : Effect.as(Effect.logError(`${request.method} ${request.path} failed`, cause), broken)
    ),
    Effect.map(HttpServerResponse.setHeader("docker-distribution-api-version", "registry/2.0"))
  )

const handle = (
  route: Route.Route,
  exchange: Exchange
): Effect.Effect<HttpServerResponse.HttpServerResponse, HandlerError, Stores> => {
  switch (route._tag) {
    case "Base":
      return Effect.succeed(json({}))
    case "Catalog":
      return Tag.catalog(route.page)
    case "TagList":
      return Tag.list(route.name, route.page)
    case "BlobGet":
      return Blob.get(route.name, route.digest, exchange)
    case "BlobDelete":
      return Blob.remove(route.name, route.digest)
    case "UploadStart":
      return Upload.start(route, exchange)
    case "UploadStatus":
      return Upload.status(route.name, route.id)
    case "UploadAppend":
      return Upload.append(route.name, route.id, exchange)
    case "UploadFinish":
      return Upload.finish(route.name, route.id, route.digest, exchange)
    case "UploadCancel":
      return Upload.cancel(route.name, route.id)
    case "ManifestGet":
      return Manifest.get(route.name, route.reference, exchange)
    case "ManifestPut":
      return Manifest.put(route.name, route.reference, exchange)
    case "ManifestDelete":
      return Manifest.remove(route.name, route.reference)
    case "Referrers":
      return exchange.referrers
        ? Manifest.referrers(route.name, route.digest, route.artifactType)
        : handle(Route.notFound, exchange)
    case "Invalid":
      return route.error
  }
}

const refusal = (error: OciError.OciError) =>
  HttpServerResponse.text(OciError.toJson(error), {
    status: error.status,
    contentType: "application/json",
    headers: error.headers
  })

/** Says nothing of the cause: it may hold paths. The log has it. */
const broken = refusal(OciError.make("UNKNOWN", "the registry could not do this; its log says why"))

const faulty = <R>(
  fault: Faults.Fault | undefined,
  answer: Effect.Effect<HttpServerResponse.HttpServerResponse, never, R>,
  cut: () => void
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R> => {
  // The closing of the connection interrupts this request, so there is nothing to go on with.
  const gone = Effect.zipRight(Effect.sync(cut), Effect.never)
  switch (fault?._tag) {
    case "Respond": {
      const body = typeof fault.body === "string" ? new TextEncoder().encode(fault.body) : fault.body
      return Effect.succeed(
        HttpServerResponse.uint8Array(body, {
          status: fault.status,
          contentType: fault.headers["content-type"] ?? "application/json",
          headers: { "content-length": String(body.length), ...fault.headers }
        })
      )
    }
    case "Delay":
      return Effect.delay(answer, fault.duration)
    case "Disconnect":
      return gone
    case "LoseResponse":
      return Effect.zipRight(answer, gone)
    default:
      return answer
  }
}

const connectionOf = (response: ReturnType<typeof NodeHttpServerRequest.toServerResponse>) => {
  const { socket } = response
  const cut = () => void socket?.destroy()
  const flushed = async () => {
    // Node holds the headers back until the first byte of the body.
    response.flushHeaders()
    while (socket?.destroyed === false && (response.writableLength > 0 || socket.writableLength > 0)) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
  return { cut, flushed }
}

const splitOnce = (text: string, separator: string): ReadonlyArray<string> => {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}
