/**
 * What a request is refused with: one error of the specification's table, with the HTTP status that belongs to it.
 * https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md#error-codes
 */
import * as Data from "effect/Data"

/** The specification's codes, `TAG_INVALID`, which it lets clients expect of older registries, and one for failures of ours. */
export type Code =
  | "BLOB_UNKNOWN"
  | "BLOB_UPLOAD_INVALID"
  | "BLOB_UPLOAD_UNKNOWN"
  | "DIGEST_INVALID"
  | "MANIFEST_BLOB_UNKNOWN"
  | "MANIFEST_INVALID"
  | "MANIFEST_UNKNOWN"
  | "NAME_INVALID"
  | "NAME_UNKNOWN"
  | "SIZE_INVALID"
  | "UNAUTHORIZED"
  | "DENIED"
  | "UNSUPPORTED"
  | "TOOMANYREQUESTS"
  | "TAG_INVALID"
  | "UNKNOWN"

export class OciError extends Data.TaggedError("OciError")<{
  readonly code: Code
  readonly status: number
  readonly message: string
  /** Goes into the body's `detail`; never holds a path of the server. */
  readonly detail?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** What else is wrong, under the same code. */
  readonly more?: ReadonlyArray<Entry>
}> {}

/** One of several errors of one answer. */
export interface Entry {
  readonly message: string
  readonly detail?: unknown
}

/** The error with the status its code usually has; `overrides` replaces it or adds headers and detail. */
export const make = (
  code: Code,
  message: string,
  overrides: {
    readonly status?: number
    readonly detail?: unknown
    readonly headers?: Readonly<Record<string, string>>
    readonly more?: ReadonlyArray<Entry>
  } = {}
): OciError => new OciError({ code, message, status: statuses[code], ...overrides })

/** The body in the specification's form: `{"errors":[{"code","message","detail"}]}`. */
export const toJson = (error: OciError): string =>
  JSON.stringify({
    errors: [error, ...(error.more ?? [])].map(({ detail, message }) => ({ code: error.code, message, detail }))
  })

// internal

const statuses: Record<Code, number> = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  TAG_INVALID: 400,
  UNKNOWN: 500
}
