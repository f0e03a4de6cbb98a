/** An answer of `NodeClient`, over the IncomingMessage it keeps as `source`. */
import type * as Http from "node:http"
import * as Cookies from "@effect/platform/Cookies"
import * as Headers from "@effect/platform/Headers"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as UrlParams from "@effect/platform/UrlParams"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

type ResponseError = HttpClientError.ResponseError

/** Never decoded: the bytes are those of the wire, whatever Content-Encoding says. */
export class NodeResponse extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly status: number
  readonly headers: Headers.Headers
  readonly remoteAddress: Option.Option<string>
  /** Whether a body can follow. */
  readonly empty: boolean
  private readonly bytes: Effect.Effect<Uint8Array, ResponseError>

  constructor(
    readonly request: HttpClientRequest.HttpClientRequest,
    readonly source: Http.IncomingMessage
  ) {
    super()
    this.status = source.statusCode ?? 0
    this.headers = Headers.fromInput(source.headers)
    this.remoteAddress = Option.fromNullable(source.socket.remoteAddress)
    this.empty =
      request.method === "HEAD" ||
      this.status === 204 ||
      this.status === 304 ||
      source.headers["content-length"] === "0"
    this.bytes = Effect.runSync(
      Effect.cached(
        this.empty
          ? Effect.succeed(new Uint8Array(0))
          : Effect.flatMap(HttpIncomingMessage.MaxBodySize, (limit) =>
              this.collect(Option.match(limit, { onNone: () => Number.POSITIVE_INFINITY, onSome: Number }))
            )
      )
    )
  }

  /** The error of this response for a failure of its body. */
  readonly failure = (cause: unknown): ResponseError =>
    new HttpClientError.ResponseError({ request: this.request, response: this, reason: "Decode", cause })

  private collect(limit: number): Effect.Effect<Uint8Array, ResponseError> {
    const chunks: Array<Uint8Array> = []
    let size = 0
    return Effect.as(
      Stream.runForEach(this.stream, (chunk) => {
        size += chunk.length
        chunks.push(chunk)
        return size > limit ? Effect.fail(this.failure(new Error(`more than ${limit} bytes`))) : Effect.void
      }),
      chunks
    ).pipe(Effect.map((all) => Buffer.concat(all, size)))
  }

  get cookies(): Cookies.Cookies {
    return Cookies.fromSetCookie(this.source.headers["set-cookie"] ?? [])
  }
  get stream(): Stream.Stream<Uint8Array, ResponseError> {
    return this.empty ? Stream.empty : NodeStream.fromReadable(() => this.source, this.failure)
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer, ResponseError> {
    return Effect.map(this.bytes, (bytes) => Uint8Array.from(bytes).buffer)
  }
  get text(): Effect.Effect<string, ResponseError> {
    return Effect.map(this.bytes, (bytes) => new TextDecoder().decode(bytes))
  }
  get json(): Effect.Effect<unknown, ResponseError> {
    return Effect.tryMap(this.text, {
      try: (text): unknown => (text === "" ? null : JSON.parse(text)),
      catch: this.failure
    })
  }
  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, ResponseError> {
    return Effect.map(this.text, (text) => UrlParams.fromInput(new URLSearchParams(text)))
  }
  get formData(): Effect.Effect<FormData, ResponseError> {
    return Effect.flatMap(this.bytes, (bytes) =>
      Effect.tryPromise({
        try: () => new Response(Uint8Array.from(bytes), { headers: { ...this.headers } }).formData(),
        catch: this.failure
      })
    )
  }
  toJSON(): unknown {
    return {
      _id: "@effect/platform/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status,
      headers: Inspectable.redact(this.headers)
    }
  }
}
