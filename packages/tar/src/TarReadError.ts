/** What is wrong with an archive or layout on disk, or with the place one is written to. */
import * as Schema from "effect/Schema"

export const Reason = Schema.Literal(
  "NotFound",
  "IsDirectory",
  "NotADirectory",
  /** A pipe or a device. */
  "NotSeekable",
  "Permission",
  "Empty",
  /** No tar, also after gzip or zstd was undone. */
  "NotATar",
  /** Ends in the middle of a member, or, from a stream, without its end-of-archive blocks. */
  "Truncated",
  "UnsupportedFormat",
  /** A member or link that leads out of the archive, or a symlink in a layout. */
  "UnsafePath",
  "LinkLoop",
  "DuplicateMember",
  "MissingMember",
  "SourceChanged",
  "TooLarge",
  "TargetExists",
  "NoSpace",
  "ReadOnly",
  "Io"
)
export type Reason = typeof Reason.Type

/** `path` is the archive or layout as the user named it, `entry` the member in it, `offset` the byte in the file. */
export class TarReadError extends Schema.TaggedError<TarReadError>("@effect-registry/tar/TarReadError")(
  "TarReadError",
  {
    reason: Reason,
    path: Schema.String,
    detail: Schema.String,
    entry: Schema.optional(Schema.String),
    offset: Schema.optional(Schema.Number),
    hint: Schema.optional(Schema.String),
    cause: Schema.optional(Schema.Defect)
  }
) {
  override get message(): string {
    const entry = this.entry === undefined ? "" : ` ${JSON.stringify(this.entry)}:`
    const at = this.offset === undefined ? "" : ` (byte ${this.offset})`
    return `${this.path}:${entry} ${this.detail}${at}`
  }
}
