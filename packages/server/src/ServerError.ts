/** Why a registry could not be started. */
import * as Schema from "effect/Schema"

export const ServerErrorReason = Schema.Literal(
  "PortInUse",
  "AddressRefused",
  "RootUnusable",
  /** Another registry keeps its images there. */
  "RootInUse",
  /** There is no registry in the folder. */
  "RootUnknown",
  /** Everybody who reaches it could write, and nothing says that this is meant. */
  "AnonymousWrite",
  "InvalidCertificate",
  "InvalidHtpasswd"
)
export type ServerErrorReason = typeof ServerErrorReason.Type

export class ServerError extends Schema.TaggedError<ServerError>("@effect-registry/server/ServerError")("ServerError", {
  reason: ServerErrorReason,
  /** The address or folder in question. */
  subject: Schema.String,
  cause: Schema.Defect,
  /** What to try next, where the reason alone does not say it. */
  advice: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return texts[this.reason].message(this.subject, why)
  }

  /** What to try next. */
  get hint(): string {
    return this.advice ?? texts[this.reason].hint
  }

  static listen(address: string, cause: unknown): ServerError {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined
    return new ServerError({ reason: code === "EADDRINUSE" ? "PortInUse" : "AddressRefused", subject: address, cause })
  }
}

// internal

const texts: Record<
  ServerErrorReason,
  { readonly message: (subject: string, why: string) => string; readonly hint: string }
> = {
  PortInUse: {
    message: (subject) => `cannot listen on ${subject}: another program does already`,
    hint: "choose another port, or 0 for a free one"
  },
  AddressRefused: {
    message: (subject, why) => `cannot listen on ${subject}: ${why}`,
    hint: "choose an address of this machine and a port that your user may open"
  },
  RootUnusable: {
    message: (subject, why) => `cannot keep a registry in ${subject}: ${why}`,
    hint: "choose a folder that your user may write to"
  },
  RootInUse: {
    message: (subject, why) => `cannot use ${subject}: ${why}`,
    hint: "end that one first, or choose another folder"
  },
  RootUnknown: {
    message: (subject, why) => `no registry in ${subject}: ${why}`,
    hint: "give the folder that `ereg serve --root` was given"
  },
  AnonymousWrite: {
    message: (subject) => `cannot serve ${subject}: everybody who reaches that address could write`,
    hint: "say who may with `authenticate`, or set `readOnly` or, if all may write, `anonymousWrite`"
  },
  InvalidCertificate: {
    message: (subject, why) => `cannot serve HTTPS with ${subject}: ${why}`,
    hint: "give a certificate chain, its own first, and the key that belongs to it, both PEM and the key not encrypted"
  },
  InvalidHtpasswd: {
    message: (subject, why) => `cannot take passwords from ${subject}: ${why}`,
    hint: "write its lines with `htpasswd -B FILE USER`"
  }
}
