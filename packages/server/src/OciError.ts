/**
 * What a request is refused with: one error of the specification's table, with the HTTP status that belongs to it.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
 */
import * as Data from "effect/Data"

/** The specification's codes, and three that Docker's registry added and clients know. */
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
  | "UNSUPPORTED"
  | "TAG_INVALID"
  | "PAGINATION_NUMBER_INVALID"
  | "UNKNOWN"

export class OciError extends Data.TaggedError("OciError")<{
  readonly code: Code
  readonly status: number
  readonly message: string
  /** Goes into the body's `detail`; never holds a path of the server. */
  readonly detail?: unknown
  readonly headers?: Readonly<Record<string, string>>
}> {}

/** The error with the status its code usually has; `overrides` replaces it or adds headers and detail. */
export const make = (
  code: Code,
  message: string,
  overrides: {
    readonly status?: number
    readonly detail?: unknown
    readonly headers?: Readonly<Record<string, string>>
  } = {}
): OciError => new OciError({ code, message, status: statuses[code], ...overrides })

/** The body in the specification's form: `{"errors":[{"code","message","detail"}]}`. */
export const toJson = (error: OciError): string =>
  JSON.stringify({ errors: [{ code: error.code, message: error.message, detail: error.detail ?? null }] })

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
  UNSUPPORTED: 405,
  TAG_INVALID: 400,
  PAGINATION_NUMBER_INVALID: 400,
  UNKNOWN: 500
}
