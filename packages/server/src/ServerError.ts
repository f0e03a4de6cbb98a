/** Why a registry could not be started. */
import * as Schema from "effect/Schema"

export const ServerErrorReason = Schema.Literal("PortInUse", "AddressRefused", "RootUnusable")
export type ServerErrorReason = typeof ServerErrorReason.Type

export class ServerError extends Schema.TaggedError<ServerError>("@effect-registry/server/ServerError")("ServerError", {
  reason: ServerErrorReason,
  /** The address or folder in question. */
  subject: Schema.String,
  cause: Schema.Defect
}) {
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return texts[this.reason].message(this.subject, why)
  }

  /** What to try next. */
  get hint(): string {
    return texts[this.reason].hint
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
  }
}
