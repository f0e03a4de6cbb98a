/**
 * What a caller, an archive or a registry handed over and cannot be used: a malformed reference, an ambiguous manifest,
 * an archive with several images where one was asked for.
 */
import * as Schema from "effect/Schema"

export const Reason = Schema.Literal(
  "InvalidReference",
  "InvalidDigest",
  "InvalidPlatform",
  "InvalidDescriptor",
  "InvalidManifest",
  "AmbiguousManifest",
  "UnsupportedManifest",
  "InvalidImageConfig",
  "InvalidArchive",
  "LayerMismatch",
  /** Compressed data that does not decompress. */
  "DamagedData",
  "DigestMismatch",
  "TooLarge",
  "NoImage",
  "SeveralImages",
  "NoTag",
  "NameConflict",
  "NoRegistry",
  "MissingContent",
  "PlatformNotFound",
  "InvalidOption",
  /** A file of settings, such as a sync's. */
  "InvalidConfig",
  /** A file or program that holds credentials cannot be used. */
  "InvalidCredentials"
)
export type Reason = typeof Reason.Type

/** One thing that is wrong: where (`layers[2].size`, empty for the whole) and what. */
export const Issue = Schema.Struct({ path: Schema.String, message: Schema.String })
export type Issue = typeof Issue.Type

/** A value that cannot be used. `subject` names it as the user wrote it, `issues` has at least one entry. */
export class ValidationError extends Schema.TaggedError<ValidationError>("@effect-registry/core/ValidationError")(
  "ValidationError",
  {
    reason: Reason,
    subject: Schema.String,
    issues: Schema.Array(Issue),
    hint: Schema.optional(Schema.String),
    cause: Schema.optional(Schema.Defect)
  }
) {
  /** The error with a single issue, about the whole subject unless `path` says otherwise. */
  static of(
    reason: Reason,
    subject: string,
    message: string,
    options: { readonly path?: string; readonly hint?: string; readonly cause?: unknown } = {}
  ): ValidationError {
    return new ValidationError({
      reason,
      subject,
      issues: [{ path: options.path ?? "", message }],
      hint: options.hint,
      cause: options.cause
    })
  }

  override get message(): string {
    const [first, ...rest] = this.issues.map(describe)
    const more = rest.length === 0 ? "" : ` (and ${rest.length} more)`
    return `${this.subject}: ${first ?? this.reason}${more}`
  }
}

/** `layers[2].size: expected a number`. */
export const describe = (issue: Issue): string =>
  issue.path === "" ? issue.message : `${issue.path}: ${issue.message}`
