/** From a request to its answer: route, handler, error in the specification's form, and the faults that tests ask for. */
import type { Readable } from "node:stream"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Authenticate } from "./Auth.js"
import { BlobStore } from "./BlobStore.js"
import type { Lost } from "./Control/Ownership.js"
import * as Faults from "./Faults.js"
import * as Blob from "./Handler/Blob.js"
import type { Bounds } from "./Handler/Body.js"
import { type Exchange, type HandlerError, json } from "./Handler/Exchange.js"
import * as Manifest from "./Handler/Manifest.js"
import * as Referrers from "./Handler/Referrers.js"
import * as Tag from "./Handler/Tag.js"
import * as Upload from "./Handler/Upload.js"
import type { Limits } from "./Limits.js"
import type { ManifestStore } from "./ManifestStore.js"
import * as Prometheus from "./Metrics/Prometheus.js"
import * as Metrics from "./Metrics.js"
import * as OciError from "./OciError.js"
import type { Requests, Tracked } from "./Requests.js"
import * as Route from "./Route.js"
import * as Unread from "./Unread.js"

export interface Options extends Faults.Hooks {
  /** Of the bodies of manifests. */
  readonly bounds: Bounds
  /** Whether referrers are listed. */
  readonly referrers: boolean
  /** Whether nothing can be changed. */
  readonly readOnly: boolean
  readonly authenticate: Authenticate | undefined
  readonly limits: Limits
  readonly requests: Requests
  /** Why the folder may be another registry's, if it may: then nothing is changed, nor told of what may have changed. */
  readonly lost: Lost
  /** What keeps the registry from its work, if anything does. */
  readonly health: Effect.Effect<string | undefined>
}

type Stores = BlobStore | ManifestStore

/** The whole registry as one HTTP app. It never fails: what goes wrong is an answer. */
export const make = (
  options: Options
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, Stores | HttpServerRequest.HttpServerRequest> => {
  let count = 0
  const { onRequest, observe, requests } = options
  return Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const incoming = NodeHttpServerRequest.toIncomingMessage(request)
    const response = NodeHttpServerRequest.toServerResponse(request)
    const [path = "", query = ""] = splitOnce(request.url, "?")
    const tracked = requests.begin(incoming, response, path)
    const seen: Faults.Request = { index: count++, method: request.method, path, query, headers: request.headers }
    const answered =
      onRequest === undefined && observe === undefined
        ? answerTo(options, seen, tracked, incoming)
        : withHooks(options, seen, tracked)
    const { turn } = tracked
    const inTurn =
      turn === undefined
        ? answered
        : Effect.zipRight(
            Effect.promise(() => turn),
            answered
          )
    requests.handlers += 1
    // An HttpApp runs uninterruptible, and a handler must stop when its client is gone.
    return Effect.interruptible(inTurn).pipe(
      Effect.map((answer) => finished(answer, tracked, requests)),
      Effect.ensuring(Effect.sync(() => requests.handlers--))
    )
  })
}

// internal

const withHooks = ({ observe, onRequest, ...options }: Options, request: Faults.Request, tracked: Tracked) =>
  Effect.gen(function* () {
    const connection = connectionOf(tracked.response)
    const fault = onRequest === undefined ? undefined : yield* onRequest(request)
    const told = (status: number | undefined) => observe?.({ ...request, status, fault }) ?? Effect.void
    const body = Faults.requestBody(fault, tracked.incoming, connection.cut)
    const answer = yield* faulty(fault, answerTo(options, request, tracked, body), connection.cut).pipe(
      Effect.onInterrupt(() => told(undefined))
    )
    yield* told(answer.status)
    return Faults.response(fault, answer, connection.flushed, connection.cut)
  })

const answerTo = (options: Options, request: Faults.Request, tracked: Tracked, body: Readable) =>
  Effect.suspend(() => {
    const route = Route.parse(request.method, request.path, request.query)
    tracked.route = route._tag
    const { bounds, referrers } = options
    const { headers, method } = request
    const exchange = { method, headers, body, bounds, referrers, proceed: proceedOf(tracked) }
    const work = Effect.zipRight(admit(options, route, request, tracked), handle(options, route, exchange))
    return isStored(route) ? Effect.tap(work, ({ status }) => status === 201 && counted(route)) : work
  }).pipe(
    Effect.catchAll((error) =>
      error._tag === "OciError"
        ? Effect.succeed(refusal(error))
        : Effect.as(
            Effect.logError(`${request.method} ${request.path}: ${error.message}`),
            error.answer === undefined ? broken : refusal(error.answer)
          )
    ),
    Effect.catchAllCause((cause) =>
      Cause.isInterruptedOnly(cause)
        ? Effect.interrupt
        : Effect.as(Effect.logError(`${request.method} ${request.path} failed`, cause), broken)
    )
  )

/** Storage, rate, account and mode, before anything is looked at. */
const admit = (
  { authenticate, limits, lost, readOnly }: Options,
  route: Route.Route,
  { headers, method, path }: Faults.Request,
  tracked: Tracked
): Effect.Effect<void, OciError.OciError> =>
  Effect.gen(function* () {
    if (route._tag === "Health") return
    if ((yield* lost) !== undefined) {
      return yield* OciError.make("UNKNOWN", "this registry cannot use its storage now", { status: 503 })
    }
    const { remote } = tracked
    yield* limits.admit(remote)
    if (authenticate !== undefined) {
      tracked.account = (yield* authenticate({ authorization: headers.authorization, remote, method, path })).name
    }
    if (readOnly && Route.isChange(route)) {
      return yield* OciError.make("UNSUPPORTED", "this registry is read-only", { headers: { allow: "GET, HEAD" } })
    }
  })

/** Asks for a body that is held back. https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1 */
const proceedOf = (tracked: Tracked): (() => void) | undefined => {
  const { incoming, response } = tracked
  if (incoming.headers.expect === undefined || incoming.httpVersion !== "1.1") return undefined
  return () => {
    tracked.bodyAsked = true
    response.writeContinue()
  }
}

/** What every answer gets. */
const finished = (
  answer: HttpServerResponse.HttpServerResponse,
  { bodyAsked, incoming, response }: Tracked,
  requests: Requests
) => {
  // A body that was held back and not asked for may come or not: what follows on the connection could be either.
  const unclear = incoming.headers.expect !== undefined && bodyAsked !== true
  const closes = Unread.settle(incoming, response) || requests.closing || unclear
  return HttpServerResponse.setHeaders(answer, closes ? lastHeaders : commonHeaders)
}

const commonHeaders = { "docker-distribution-api-version": "registry/2.0" }
const lastHeaders = { ...commonHeaders, connection: "close" }

type Stored = Extract<Route.Route, { readonly _tag: "UploadStart" | "UploadFinish" }>

const isStored = (route: Route.Route): route is Stored => route._tag === "UploadFinish" || route._tag === "UploadStart"

const counted = (route: Stored) =>
  Effect.sync(() => Metrics.blobStored(route.digest === undefined ? "mount" : "upload"))

const metrics = Effect.gen(function* () {
  const open = yield* Effect.option((yield* BlobStore).openUploads)
  const page = yield* Metrics.page(Option.getOrUndefined(open))
  return HttpServerResponse.text(page, { contentType: Prometheus.contentType })
})

const healthy = ({ health }: Options) =>
  Effect.map(health, (trouble) =>
    trouble === undefined
      ? json({ status: "ok" })
      : HttpServerResponse.text(JSON.stringify({ status: trouble }), { status: 503, contentType: "application/json" })
  )

const handle = (
  options: Options,
  route: Route.Route,
  exchange: Exchange
): Effect.Effect<HttpServerResponse.HttpServerResponse, HandlerError, Stores> => {
  switch (route._tag) {
    case "Base":
      return Effect.succeed(json({}))
    case "Health":
      return healthy(options)
    case "Metrics":
      return metrics
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
      return Manifest.put(route.name, route.reference, route.tags, exchange)
    case "ManifestDelete":
      return Manifest.remove(route.name, route.reference, exchange)
    case "Referrers":
      return exchange.referrers
        ? Referrers.list(route.name, route.digest, route)
        : handle(options, Route.notFound, exchange)
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
