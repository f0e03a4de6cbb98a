/** What went wrong between us and a registry, with the decision a caller has to take as `reason`. */
import * as Schema from "effect/Schema"

export const Reason = Schema.Literal(
  /** No connection: refused, unknown host, no route. */
  "Unreachable",
  /** The connection ended in the middle of an exchange. */
  "ConnectionLost",
  "Timeout",
  "Tls",
  /** A proxy on the way refuses, or is set up wrongly. */
  "Proxy",
  /** TLS was spoken to a server that answers in plain HTTP. */
  "PlainHttpServer",
  /** Something answers there, but it is no registry. */
  "NotARegistry",
  "Unauthorized",
  /** Credentials should be there and cannot be read. */
  "Credentials",
  "Denied",
  "NotFound",
  "RateLimited",
  "ServerError",
  /** The registry refuses what was sent (400, 409, 413, 422 …). */
  "Rejected",
  /** Bytes that are not those of their digest. */
  "DigestMismatch",
  "SizeMismatch",
  /** An answer that breaks the specification. */
  "Protocol",
  /** More than we agree to hold. */
  "TooLarge",
  /** A URL handed out by the registry that must not be followed. */
  "UnsafeUrl",
  /** Deleting is switched off or not offered. */
  "DeleteDisabled",
  /** Other tags or indexes name the digest. */
  "StillReferenced"
)
export type Reason = typeof Reason.Type

/** One entry of a registry's error body (distribution-spec, "Error Codes"). */
export const OciErrorCode = Schema.Struct({ code: Schema.String, message: Schema.String })
export type OciErrorCode = typeof OciErrorCode.Type

/** `operation` says what was being done to what; `url` carries neither user info nor query. */
export class RegistryError extends Schema.TaggedError<RegistryError>("@effect-registry/core/RegistryError")(
  "RegistryError",
  {
    reason: Reason,
    operation: Schema.String,
    method: Schema.String,
    url: Schema.String,
    status: Schema.optional(Schema.Number),
    codes: Schema.Array(OciErrorCode),
    /** From Retry-After, in milliseconds. */
    retryAfter: Schema.optional(Schema.Number),
    detail: Schema.optional(Schema.String),
    hint: Schema.optional(Schema.String),
    cause: Schema.optional(Schema.Defect)
  }
) {
  override get message(): string {
    return `${this.operation}: ${describe(this)}`
  }
}

/** The reason in words, with what the registry said. */
const describe = (error: RegistryError): string => {
  const status = error.status === undefined ? "" : ` (HTTP ${error.status})`
  const codes = error.codes
    .map((code) => (code.message === "" ? code.code : `${code.code}: ${code.message}`))
    .join("; ")
  const said = error.detail ?? (codes === "" ? undefined : codes)
  return said === undefined ? `${words[error.reason]}${status}` : `${words[error.reason]}${status}: ${said}`
}

const words: Record<Reason, string> = {
  Unreachable: "cannot reach the registry",
  ConnectionLost: "the connection was lost",
  Timeout: "no answer in time",
  Tls: "the TLS connection failed",
  Proxy: "the proxy does not let us through",
  PlainHttpServer: "the server speaks plain HTTP, not HTTPS",
  NotARegistry: "this is not a container registry",
  Unauthorized: "the registry wants credentials",
  Credentials: "the credentials cannot be read",
  Denied: "the registry denies access",
  NotFound: "not found",
  RateLimited: "the registry asks to slow down",
  ServerError: "the registry failed",
  Rejected: "the registry refused",
  DigestMismatch: "the bytes do not match their digest",
  SizeMismatch: "the size is not the expected one",
  Protocol: "the answer breaks the registry protocol",
  TooLarge: "the answer is too large",
  UnsafeUrl: "refusing to follow a URL",
  DeleteDisabled: "the registry does not allow deletes",
  StillReferenced: "still in use"
}

/** A URL fit for logs and errors: no user info, no query, no fragment. */
export const safeUrl = (url: string): string => {
  if (!URL.canParse(url)) return url.replace(/[?#].*$/s, "").replace(/\/\/[^/]*@/, "//")
  const parsed = new URL(url)
  return `${parsed.protocol}//${parsed.host}${parsed.pathname}`
}
