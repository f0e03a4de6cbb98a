/** What a handler sees of a request, and the answers it makes of it. */
import type { Readable } from "node:stream"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as OciError from "../OciError.js"
import type { StorageError } from "../StorageError.js"
import type { Bounds } from "./Body.js"

export interface Exchange {
  readonly method: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The raw body; reading it is the handler's business. */
  readonly body: Readable
  /** Asks for a body that the client holds back until the request has been looked at. */
  readonly proceed?: (() => void) | undefined
  /** Of the body of a manifest. */
  readonly bounds: Bounds
  /** Whether this registry lists referrers. */
  readonly referrers: boolean
}

/** All that can go wrong in a handler. */
export type HandlerError = OciError.OciError | StorageError

/** An answer without a body. Without the explicit length Node would send it in chunks. */
export const empty = (status: number, headers: Readonly<Record<string, string>> = {}) =>
  HttpServerResponse.empty({
    status,
    headers: status === 204 || status === 304 ? headers : { "content-length": "0", ...headers }
  })

export const json = (
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
  contentType = "application/json"
) => HttpServerResponse.text(JSON.stringify(value), { contentType, headers })
