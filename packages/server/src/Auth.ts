/**
 * Who may use the registry: `authenticate` is asked about every request but those for the health of the registry. The one
 * that reads a file of bcrypt hashes is `Auth/Htpasswd.ts`.
 */
import type * as Effect from "effect/Effect"
import type * as OciError from "./OciError.js"

/** Who sent a request. */
export interface Account {
  readonly name: string
}

export interface Request {
  /** The `Authorization` header, as it came. */
  readonly authorization: string | undefined
  /** The address of the client. */
  readonly remote: string
  readonly method: string
  /** Without the query. */
  readonly path: string
}

/** The account of a request, or the refusal, with its `WWW-Authenticate` header where credentials would help. */
export type Authenticate = (request: Request) => Effect.Effect<Account, OciError.OciError>
