/** What an exchange that went wrong means: from a client's error, or from a status and OCI codes, to one `RegistryError`. */
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type OciErrorCode, type Reason, RegistryError, safeUrl } from "../RegistryError.js"

/** The exchange that an error tells of. */
export interface Subject {
  /** What is being done to what, for a message: `get the manifest of localhost:5000/app:1.0`. */
  readonly operation: string
  readonly method: string
  readonly url: string
}

export interface Details {
  readonly status?: number | undefined
  readonly codes?: ReadonlyArray<OciErrorCode> | undefined
  readonly retryAfter?: number | undefined
  readonly detail?: string | undefined
  readonly hint?: string | undefined
  readonly cause?: unknown
}

export const make = (subject: Subject, reason: Reason, details: Details = {}): RegistryError =>
  new RegistryError({
    reason,
    operation: subject.operation,
    method: subject.method,
    url: safeUrl(subject.url),
    codes: details.codes ?? [],
    status: details.status,
    retryAfter: details.retryAfter,
    detail: details.detail,
    hint: details.hint,
    cause: details.cause
  })

/** Whether bytes were not what they should be: there is nothing to go on from, and the same request may bring others. */
export const isMismatch = (
  error: unknown
): error is RegistryError & { readonly reason: "DigestMismatch" | "SizeMismatch" } =>
  error instanceof RegistryError && (error.reason === "DigestMismatch" || error.reason === "SizeMismatch")

/** The same error with another hint. */
export const withHint = (error: RegistryError, hint: string): RegistryError => new RegistryError({ ...error, hint })

/** The error of a request that got no answer, or of an answer that broke off. */
export const fromClient = (subject: Subject, error: HttpClientError.HttpClientError): RegistryError => {
  // Not the error itself: it carries the request, with its headers.
  const cause = error.cause ?? new Error(error.description ?? error.reason)
  if (error._tag === "RequestError" && error.reason !== "Transport") {
    return make(subject, "Protocol", { detail: error.description ?? error.reason, cause })
  }
  const status = error._tag === "ResponseError" ? error.response.status : undefined
  if (error._tag === "ResponseError" && error.description?.startsWith("more than ") === true) {
    return make(subject, "SizeMismatch", { status, detail: error.description })
  }
  const causes = chain(cause)
  const code = causes.find(({ code }) => code !== undefined)?.code ?? ""
  const text = causes.map(({ message }) => message).join(" ")
  const { hint, reason } = classify(code, text, error._tag === "ResponseError", new URL(subject.url).host)
  const own = causes.find((link) => link.hint !== undefined)?.hint
  return make(subject, reason, { status, detail: detailOf(code, causes, error), hint: own ?? hint, cause })
}

/** The error of an answer with a status that was not asked for. `body` is its text, cut at a bound. */
export const fromStatus = (
  subject: Subject,
  status: number,
  body: string,
  headers: Readonly<Record<string, string | undefined>>,
  now: number
): RegistryError => {
  const codes = parseCodes(body)
  const wantsTls = status === 400 && speaksTls(subject, body, headers)
  const reason: Reason = wantsTls ? "Tls" : reasonOf(status, codes)
  const host = new URL(subject.url).host
  return make(subject, reason, {
    status,
    codes,
    retryAfter: Option.getOrUndefined(retryAfter(headers["retry-after"], now)),
    detail: wantsTls ? "the server speaks HTTPS, it was called by plain HTTP" : undefined,
    hint: wantsTls
      ? `name its scheme, as in --registry https://${host}, or its certificates, as in --cert-dir`
      : hintOf(reason, subject.method, status, codes)
  })
}

/** `Retry-After` in milliseconds: seconds, or a date. https://www.rfc-editor.org/rfc/rfc9110#name-retry-after */
export const retryAfter = (value: string | undefined, now: number): Option.Option<number> => {
  if (value === undefined) return Option.none()
  if (/^\d+$/.test(value.trim())) return Option.some(Number(value) * 1000)
  const date = Date.parse(value)
  return Number.isNaN(date) ? Option.none() : Option.some(Math.max(0, date - now))
}

// internal

const ErrorBody = Schema.Struct({
  errors: Schema.Array(
    Schema.Struct({
      code: Schema.String,
      message: Schema.optional(Schema.NullOr(Schema.String)),
      detail: Schema.Unknown.pipe(Schema.optional)
    })
  )
})

/** A registry could fill a terminal with what it has to say. */
const maxCodes = 10
const maxText = 500

/** Whatever the body is (HTML of a proxy, nothing, something else): no codes then. */
const parseCodes = (body: string): ReadonlyArray<OciErrorCode> =>
  Option.match(Schema.decodeUnknownOption(Schema.parseJson(ErrorBody))(body), {
    onNone: () => [],
    onSome: ({ errors }) =>
      errors.slice(0, maxCodes).map(({ code, message }) => ({
        code: code.slice(0, maxText),
        message: (message ?? "").slice(0, maxText)
      }))
  })

/** One table from the registry's own codes, then from the status. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes */
const byCode: Readonly<Record<string, Reason>> = {
  UNAUTHORIZED: "Unauthorized",
  DENIED: "Denied",
  NAME_UNKNOWN: "NotFound",
  MANIFEST_UNKNOWN: "NotFound",
  BLOB_UNKNOWN: "NotFound",
  TOOMANYREQUESTS: "RateLimited",
  DIGEST_INVALID: "DigestMismatch",
  SIZE_INVALID: "SizeMismatch"
}

const byStatus: Readonly<Record<number, Reason>> = {
  401: "Unauthorized",
  403: "Denied",
  404: "NotFound",
  408: "Timeout",
  425: "ServerError",
  429: "RateLimited"
}

const reasonOf = (status: number, codes: ReadonlyArray<OciErrorCode>): Reason => {
  if (status >= 500) return "ServerError"
  if (status < 400) return "Protocol"
  const coded = codes.map(({ code }) => byCode[code]).find((reason) => reason !== undefined)
  return byStatus[status] ?? coded ?? "Rejected"
}

/** Whether a TLS server tells that it was called by plain HTTP; to a HEAD it says nothing, not even a header. */
const speaksTls = (
  { method, url }: Subject,
  body: string,
  headers: Readonly<Record<string, string | undefined>>
): boolean =>
  /HTTP request (was sent )?to (an )?HTTPS (server|port)/i.test(body) ||
  (method === "HEAD" && url.startsWith("http:") && headers.date === undefined && headers["content-type"] === undefined)

const hintOf = (
  reason: Reason,
  method: string,
  status: number,
  codes: ReadonlyArray<OciErrorCode>
): string | undefined => {
  if (reason === "RateLimited") return "try again later, or with less concurrency"
  if (codes.some(({ code }) => code === "MANIFEST_BLOB_UNKNOWN")) {
    return "the registry lacks a blob or manifest that this one names; it may have been deleted in the meantime"
  }
  if (method !== "GET" && method !== "HEAD" && codes.some(({ code }) => code === "NAME_UNKNOWN")) {
    return "this registry makes no repository by itself: create it first, or check its name"
  }
  if (status === 413) return "a proxy before the registry may limit the size of requests"
  return undefined
}

const unreachable = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"])
const timedOut = new Set([
  "ETIMEDOUT",
  "ESOCKETTIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT"
])
const certificate =
  /^(?:CERT_|CRL_|ERR_TLS_|ERR_SSL_|ERROR_IN_CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_(?:CA|PURPOSE)|PATH_LENGTH_)/

/** Alerts by which a server refuses us. */
const refusal = /ALERT_(?:BAD_CERTIFICATE|CERTIFICATE_REQUIRED|CERTIFICATE_UNKNOWN|HANDSHAKE_FAILURE|UNKNOWN_CA)/
const checkProxy = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"

const classify = (
  code: string,
  text: string,
  answered: boolean,
  host: string
): { readonly reason: Reason; readonly hint?: string } => {
  if (code.startsWith("ERR_PROXY_")) return { reason: "Proxy", hint: checkProxy }
  if (unreachable.has(code)) {
    if (text.startsWith("the proxy ")) return { reason: "Unreachable", hint: checkProxy }
    const isUnknown = code === "ENOTFOUND" || code === "EAI_AGAIN"
    return { reason: "Unreachable", hint: isUnknown ? `check the name ${host}` : `is a registry running at ${host}?` }
  }
  if (timedOut.has(code)) return { reason: "Timeout" }
  if (
    /wrong version number|packet length too long|http request/i.test(text) ||
    code === "ERR_SSL_WRONG_VERSION_NUMBER"
  ) {
    return { reason: "PlainHttpServer", hint: `--plain-http, or http://${host} as the registry's URL` }
  }
  if (refusal.test(code)) {
    const places = `NAME.cert and NAME.key in certs.d/${host}, or in --cert-dir`
    return { reason: "Tls", hint: `the registry may want a client certificate that it trusts: ${places}` }
  }
  if (code === "ERR_TLS_CERT_FILE") return { reason: "Tls", hint: "mend what is named there, or leave it out" }
  if (certificate.test(code) || (code === "EPROTO" && /ssl|tls/i.test(text))) return { reason: "Tls" }
  if (code.startsWith("HPE_") && code !== "HPE_INVALID_EOF_STATE" && !answered) {
    return { reason: "NotARegistry", hint: `what answers at ${host} does not speak HTTP` }
  }
  return { reason: "ConnectionLost" }
}

interface Link {
  readonly code: string | undefined
  readonly message: string
  /** What its maker knows of a way out. */
  readonly hint: string | undefined
}

/** The error and what caused it, outermost first; a chain may be circular. */
const chain = (cause: unknown, depth = 0): ReadonlyArray<Link> => {
  if (typeof cause !== "object" || cause === null || depth > 8) return []
  const { cause: inner, code, errors, hint, message } = cause as Readonly<Record<string, unknown>>
  const link = {
    code: typeof code === "string" && code !== "" ? code : undefined,
    message: typeof message === "string" ? message : "",
    hint: typeof hint === "string" ? hint : undefined
  }
  const several = Array.isArray(errors) ? errors.slice(0, 4).flatMap((each) => chain(each, depth + 1)) : []
  return [link, ...several, ...chain(inner, depth + 1)]
}

const detailOf = (code: string, causes: ReadonlyArray<Link>, error: HttpClientError.HttpClientError) => {
  const spoken = [...causes].reverse().find(({ message }) => message !== "")?.message
  const line = (spoken ?? error.description ?? "").split("\n", 1)[0]?.slice(0, maxText) ?? ""
  // Of OpenSSL's line only what it says: "…:error:0A000412:SSL routines:ssl3_read_bytes:sslv3 alert bad certificate:…"
  const text = /error:[0-9A-F]{8}:[^:]*:[^:]*:([^:]+)/i.exec(line)?.[1] ?? line
  return text === "" ? (code === "" ? undefined : code) : text
}
